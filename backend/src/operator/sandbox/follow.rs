//! Waits until Docker shows what was ordered.

use std::time::{Duration, Instant};

use super::super::progress::Progress;
use crate::{
    id::SandboxId,
    sandbox::{docker::Docker, plan::Observed, row::order::Order, runtime::Runtime},
};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A start, the slowest of all, takes seconds; a queue of them on a busy machine longer.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Followed {
    /// None when it did not come to it while we looked.
    pub took: Option<Duration>,
    /// What Docker showed last.
    pub state: &'static str,
}

/// Every look is one small call.
pub async fn follow(docker: &Docker, id: SandboxId, order: Order) -> anyhow::Result<Followed> {
    let (begun, mut progress) = (Instant::now(), Progress::new());
    let name = docker.layout.name(id);
    loop {
        let found = docker.inspect(&name).await?;
        let observed = found.map_or(Observed::Missing, |found| found.observed);
        let state = word(observed);
        if is_done(order, observed) {
            let took = Some(begun.elapsed());
            return Ok(Followed { took, state });
        }
        if begun.elapsed() >= PATIENCE {
            return Ok(Followed { took: None, state });
        }
        progress.say(state);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What sleeps deeper than a pause need not be paused.
fn is_done(order: Order, observed: Observed) -> bool {
    match order {
        Order::Wake => observed == Observed::Running,
        Order::Pause => matches!(observed, Observed::Paused | Observed::Missing),
        Order::Stop => observed == Observed::Missing,
    }
}

fn word(observed: Observed) -> &'static str {
    match observed {
        Observed::Missing => "stopped",
        Observed::Created => "created",
        Observed::Running => "running",
        Observed::Paused => "paused",
        Observed::Exited => "exited",
        Observed::Dead => "dead",
        Observed::Changing => "changing",
    }
}
