//! Sandboxes: one container and one volume per person, behind walls.
//!
//! The door. Callers ask for an [`Endpoint`] and say how it went ([`Sandboxes::ready`],
//! [`Sandboxes::broken`]); nobody but the reconcile loop touches a container. Start reading at
//! [`plan`] (what is to be done) and [`reconcile`] (how it gets done).

pub mod act;
pub mod all;
pub mod call;
pub mod capacity;
mod containers;
mod cores;
pub mod disks;
pub mod docker;
mod entrance;
mod figures;
pub mod files;
mod greed;
pub mod hold;
pub mod layout;
mod look;
pub mod network;
pub mod pin;
pub mod plan;
pub mod pool;
pub mod reconcile;
pub mod replace;
pub mod row;
pub mod runtime;
pub mod sleep;
pub mod spec;
#[cfg(test)]
pub(crate) mod tests;
pub mod volume;
pub mod walls;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use sqlx::PgPool;
use tokio::sync::{Notify, watch};

use crate::{clock::Clock, id::SandboxId, lifecycle::Shutdown, seal::MasterKey};
use layout::Layout;
use plan::{Observed, Sleep, Step, Walls};
use runtime::Runtime;
use sleep::{Gateway, Restless};
use spec::Shape;
use walls::record::Record;

/// Where an agent writes down what it has to look after unasked. The workspace's own rules
/// (`sandbox-image/workspace/AGENTS.md`) tell it so.
const AGENDA: &str = "workspace/AGENDA.md";
/// More of it is not read: it is paid for at every heartbeat.
const MAX_AGENDA_BYTES: usize = 4 << 10;

/// A gateway that may be dialled: this container, in this run of it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub sandbox: SandboxId,
    pub address: SocketAddr,
    pub container_id: String,
    pub started_at: String,
    pub gateway_token: SecretString,
}

/// The sandboxes somebody has a turn open with, and since when; the owner of turns answers.
pub type OpenTurns = Arc<
    dyn Fn() -> BoxFuture<'static, anyhow::Result<HashMap<SandboxId, DateTime<Utc>>>> + Send + Sync,
>;

/// What the worker builds [`Sandboxes`] from.
pub struct Parts {
    pub pool: PgPool,
    pub runtime: Arc<dyn Runtime>,
    pub layout: Layout,
    pub shape: Shape,
    /// What new sandboxes run. Whoever is there keeps theirs.
    pub image: String,
    pub model: String,
    pub master: Arc<MasterKey>,
    pub clock: Clock,
    /// Boots at a time: as many as the machine has cores.
    pub boots: usize,
    pub sleep: Sleep,
    /// How many may be awake at a time.
    pub capacity: usize,
    /// How many of those wait, booted, for somebody new.
    pub pool_size: usize,
    pub gateway: Arc<dyn Gateway>,
    pub open_turns: OpenTurns,
    /// Whether this process is the one that acts on this host. Without it nothing is touched.
    pub lease_held: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// All sandboxes of this host. Cheap to clone.
#[derive(Clone)]
pub struct Sandboxes(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// What the last pass saw: a cache. Docker is asked again before anyone dials.
    view: watch::Sender<HashMap<SandboxId, Seen>>,
    wake: Notify,
    walls: Mutex<Record>,
    notes: Mutex<Notes>,
}

/// What is under way for a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    Step(Step),
    /// Somebody holds it still (`hold`).
    Held,
}

/// What this process remembers; all of it may be lost.
#[derive(Default)]
struct Notes {
    /// The one thing under way for a sandbox.
    busy: HashMap<SandboxId, Busy>,
    /// Containers whose gateway was found broken.
    condemned: HashSet<String>,
    /// Runs (container, start) whose gateway answered: they boot no more.
    ready: HashSet<(String, String)>,
    /// Since when somebody wants a run whose gateway has not answered yet.
    wanted: HashMap<(String, String), Instant>,
    /// Those who had still work to do when they were to fall asleep.
    restless: HashMap<SandboxId, Restless>,
    /// Those who have work and no place.
    crowded: HashSet<SandboxId>,
}

/// A container that runs or is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    container_id: String,
    started_at: String,
    slot: i32,
    epoch: i32,
    /// It runs, where it should, behind walls that stand, and is not about to fall asleep.
    open: bool,
}

impl Seen {
    fn is(&self, endpoint: &Endpoint) -> bool {
        self.container_id == endpoint.container_id && self.started_at == endpoint.started_at
    }
}

impl Sandboxes {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            view: watch::Sender::default(),
            wake: Notify::new(),
            walls: Mutex::default(),
            notes: Mutex::default(),
        }))
    }

    /// Starts the reconcile loop, and the watch over who takes too much.
    pub fn run(&self, shutdown: &Shutdown) {
        let (sandboxes, stop) = (self.clone(), shutdown.clone());
        shutdown.run_forever(
            "sandbox",
            async move { reconcile::run(sandboxes, stop).await },
        );
        shutdown.run_forever("greed", self.clone().watch_greed(shutdown.clone()));
    }

    /// Waits until the sandbox runs behind walls that stand; bound it with a timeout. Container and
    /// start time are asked of Docker at this very call: an address alone may be somebody else's.
    pub async fn endpoint(&self, id: SandboxId) -> anyhow::Result<Endpoint> {
        let mut view = self.0.view.subscribe();
        let mut waits_since = None;
        loop {
            let seen = view
                .borrow_and_update()
                .get(&id)
                .filter(|seen| seen.open)
                .cloned();
            if let Some(seen) = seen
                && self.still_runs(&seen).await?
            {
                if let Some(since) = waits_since {
                    self.note_wish(&seen, since);
                }
                return Ok(self.endpoint_of(id, seen));
            }
            waits_since.get_or_insert_with(Instant::now);
            self.wake();
            view.changed().await?;
        }
    }

    /// Its wake took until now, or until its gateway has booted.
    fn note_wish(&self, seen: &Seen, since: Instant) {
        let run = (seen.container_id.clone(), seen.started_at.clone());
        let mut notes = self.notes();
        if notes.ready.contains(&run) {
            metrics::histogram!("clawkaka_sandbox_wake_seconds").record(since.elapsed());
        } else {
            notes.wanted.entry(run).or_insert(since);
        }
    }

    async fn still_runs(&self, seen: &Seen) -> anyhow::Result<bool> {
        let parts = &self.0.parts;
        let found = parts.runtime.inspect(&seen.container_id).await?;
        Ok(found.is_some_and(|container| {
            container.observed == Observed::Running
                && container.started_at == seen.started_at
                && container.address == Some(parts.layout.address(seen.slot))
        }))
    }

    fn endpoint_of(&self, sandbox: SandboxId, seen: Seen) -> Endpoint {
        let parts = &self.0.parts;
        Endpoint {
            sandbox,
            address: parts.layout.gateway(seen.slot),
            gateway_token: files::gateway_token(&parts.master, sandbox, seen.epoch),
            container_id: seen.container_id,
            started_at: seen.started_at,
        }
    }

    /// Resolves when that very run of the container is over. A pause does not end it.
    pub async fn lost(&self, endpoint: &Endpoint) {
        let mut view = self.0.view.subscribe();
        let gone = |view: &HashMap<SandboxId, Seen>| {
            !view
                .get(&endpoint.sandbox)
                .is_some_and(|seen| seen.is(endpoint))
        };
        // An error would mean that the sender is gone, and that is ours.
        let _ = view.wait_for(gone).await;
    }

    /// The gateway behind this endpoint answered, authenticated.
    pub async fn ready(&self, endpoint: &Endpoint) -> anyhow::Result<()> {
        let run = (endpoint.container_id.clone(), endpoint.started_at.clone());
        // Once per run of a container: each time costs a commit and a look at everything in Docker.
        if !self.is_current(endpoint) || self.notes().ready.contains(&run) {
            return Ok(());
        }
        row::succeed(&self.0.parts.pool, endpoint.sandbox).await?;
        let wanted = {
            let mut notes = self.notes();
            let wanted = notes.wanted.remove(&run);
            notes.ready.insert(run);
            wanted
        };
        if let Some(since) = wanted {
            metrics::histogram!("clawkaka_sandbox_wake_seconds").record(since.elapsed());
        }
        tracing::info!(sandbox.id = %endpoint.sandbox, "sandbox is ready");
        // Room for the next boot.
        self.wake();
        Ok(())
    }

    /// The gateway never became ready, or answers nonsense: its container is removed, and made
    /// again after a pause. The volume stays.
    pub async fn broken(&self, endpoint: &Endpoint, why: &'static str) -> anyhow::Result<()> {
        let (id, container) = (endpoint.sandbox, &endpoint.container_id);
        // Late news of a container that is gone condemns nobody; neither does the same news twice.
        if !self.is_current(endpoint) || !self.notes().condemned.insert(container.clone()) {
            return Ok(());
        }
        tracing::warn!(sandbox.id = %id, container.id = container, "sandbox is broken: {why}");
        metrics::counter!("clawkaka_sandbox_broken_total").increment(1);
        let now = self.0.parts.clock.now();
        let mut conn = self.0.parts.pool.acquire().await?;
        row::fail(&mut conn, id, now, act::backoff).await?;
        self.wake();
        Ok(())
    }

    /// Lets nobody through any more.
    fn shut_doors(&self, shut: &HashSet<SandboxId>) {
        self.0.view.send_if_modified(|view| {
            let closing = view
                .iter_mut()
                .filter(|(id, seen)| seen.open && shut.contains(id));
            closing.map(|(_, seen)| seen.open = false).count() > 0
        });
    }

    /// Lets those through who wait for it, without waiting for the next pass.
    fn open_door(&self, id: SandboxId, seen: Seen) {
        if self.walls().walls(self.0.parts.clock.now()) != Walls::Standing {
            return;
        }
        self.0.view.send_modify(|view| {
            if let Some(old) = view.get_mut(&id) {
                *old = seen;
            }
        });
    }

    fn is_current(&self, endpoint: &Endpoint) -> bool {
        let view = self.0.view.borrow();
        view.get(&endpoint.sandbox)
            .is_some_and(|seen| seen.is(endpoint))
    }

    /// Whether it runs or is paused, as far as the last pass saw.
    pub fn is_awake(&self, id: SandboxId) -> bool {
        self.0.view.borrow().contains_key(&id)
    }

    /// Whether somebody has work for it, and it waits for a place among those who are awake.
    pub fn is_crowded_out(&self, id: SandboxId) -> bool {
        self.notes().crowded.contains(&id)
    }

    /// What the agent wrote down to look after; empty where it wrote nothing. It is the sandbox's
    /// word, and goes nowhere but back to it.
    pub async fn agenda(&self, endpoint: &Endpoint) -> anyhow::Result<String> {
        let runtime = &self.0.parts.runtime;
        let read = runtime.read(&endpoint.container_id, AGENDA, MAX_AGENDA_BYTES);
        let text = read.await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// The first `limit` bytes of a file of the agent's, below its workspace.
    pub async fn file(
        &self,
        endpoint: &Endpoint,
        path: &str,
        limit: usize,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let path = format!("{}/{path}", files::WORKSPACE);
        let runtime = &self.0.parts.runtime;
        runtime.read(&endpoint.container_id, &path, limit).await
    }

    /// Puts a file where the agent finds it, below its workspace.
    pub async fn put(&self, endpoint: &Endpoint, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let uid = match endpoint.address.ip() {
            IpAddr::V4(address) => parts.layout.uid_at(address),
            IpAddr::V6(_) => None,
        };
        let uid = uid.context("find a sandbox's uid")?;
        let archive = files::of_one(path, uid, content)?;
        parts.runtime.put(&endpoint.container_id, archive).await
    }

    /// Wakes the reconcile loop now: somebody has work for a sandbox.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.0
            .notes
            .lock()
            .expect("no holder of the notes can panic")
    }

    fn walls(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0
            .walls
            .lock()
            .expect("no holder of the walls' record can panic")
    }
}
