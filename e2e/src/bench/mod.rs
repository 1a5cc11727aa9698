//! What the product costs and how fast it is, each number with its floor from the same run.
//!
//! The real binary, the real Docker, OpenClaw and Postgres; only WhatsApp and the model are
//! simulated. `infra/bench.sh` prepares the machine and runs `clawkaka-bench`, which runs [`Row`]s.

mod asked;
mod asleep;
mod bare;
mod direct;
mod fleet;
mod load;
mod memory;
mod neighbour;
mod person;
mod pgbench;
mod pool;
mod relay;
pub mod report;
mod request;
mod stage;
mod stopped;
mod webhooks;

use std::time::Duration;

use futures_util::future::BoxFuture;

use report::Figure;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    WebhookLatency,
    WebhookThroughput,
    NewPerson,
    PooledPerson,
    Wake,
    Stopped,
    Fleet,
    Relay,
    Neighbour,
    Memory,
    ModelRequest,
}

impl Row {
    pub const ALL: [Self; 11] = [
        Self::WebhookLatency,
        Self::WebhookThroughput,
        Self::NewPerson,
        Self::PooledPerson,
        Self::Wake,
        Self::Stopped,
        Self::Fleet,
        Self::Relay,
        Self::Neighbour,
        Self::Memory,
        Self::ModelRequest,
    ];

    /// What picks it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebhookLatency => "webhook-latency",
            Self::WebhookThroughput => "webhook-throughput",
            Self::NewPerson => "new-person",
            Self::PooledPerson => "pooled-person",
            Self::Wake => "wake",
            Self::Stopped => "stopped",
            Self::Fleet => "fleet",
            Self::Relay => "relay",
            Self::Neighbour => "neighbour",
            Self::Memory => "memory",
            Self::ModelRequest => "model-request",
        }
    }

    /// Boxed: compiled here once, and not in the program too.
    pub fn measure(self, scale: &Scale) -> BoxFuture<'_, anyhow::Result<Vec<Figure>>> {
        match self {
            Self::WebhookLatency => Box::pin(webhooks::latency(scale)),
            Self::WebhookThroughput => Box::pin(webhooks::throughput(scale)),
            Self::NewPerson => Box::pin(person::measure(scale)),
            Self::PooledPerson => Box::pin(pool::measure(scale)),
            Self::Wake => Box::pin(asleep::measure(scale)),
            Self::Stopped => Box::pin(stopped::measure(scale)),
            Self::Fleet => Box::pin(fleet::measure(scale)),
            Self::Relay => Box::pin(relay::measure(scale)),
            Self::Neighbour => Box::pin(neighbour::measure(scale)),
            Self::Memory => Box::pin(memory::measure(scale)),
            Self::ModelRequest => Box::pin(request::measure()),
        }
    }
}

/// How much of everything: load is bounded in number and in time.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How often ours and the floor take turns.
    pub rounds: usize,
    /// How long one such turn of a load lasts.
    pub slice: Duration,
    pub warm_up: Duration,
    /// New people, each with a sandbox of their own.
    pub people: usize,
    /// New people met from the pool, and wakes of each kind.
    pub wakes: usize,
    /// Turns relayed, and as many sent directly; turns beside somebody hostile, and as many without.
    pub turns: usize,
    /// Sandboxes that run while memory is read.
    pub running: usize,
    pub light_traffic: Duration,
    /// Longer than all who are awake together take to write, so that the light traffic meets nobody
    /// asleep.
    pub pause_after: &'static str,
    /// How long nobody writes while time on a core is read.
    pub rest: Duration,
}

impl Scale {
    /// For numbers to be believed.
    pub const FULL: Self = Self {
        rounds: 3,
        slice: Duration::from_secs(10),
        warm_up: Duration::from_secs(3),
        people: 5,
        wakes: 12,
        turns: 40,
        running: 10,
        light_traffic: Duration::from_secs(60),
        pause_after: "60s",
        rest: Duration::from_secs(60),
    };
    /// To see that every row can still be measured.
    pub const QUICK: Self = Self {
        rounds: 1,
        slice: Duration::from_secs(2),
        warm_up: Duration::from_secs(1),
        people: 1,
        wakes: 1,
        turns: 3,
        running: 1,
        light_traffic: Duration::from_secs(5),
        pause_after: "10s",
        rest: Duration::from_secs(5),
    };
}
