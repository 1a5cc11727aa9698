//! The worker role: one loop per station.
//!
//! Each station has a `step` that does one piece of work and says whether there was any. The loop
//! runs it until it is idle and then waits for its bell or the tick; tests call `step` themselves.

pub mod backup;
pub mod crew;
pub mod deliver;
pub mod exchange;
pub mod export;
pub mod leave;
pub mod listen;
pub mod measure;
pub mod poll;
pub mod remind;
pub mod route;
pub mod send;
pub mod sweep;
pub mod token;
pub mod upgrade;

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::lifecycle::Shutdown;

/// How long a ring that got lost delays a message.
const TICK: Duration = Duration::from_secs(1);
/// After an error of ours: long enough not to fill the log, short enough to go on soon.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Worked,
    Idle,
    /// There is something to do by then, and nobody will ring for it.
    IdleFor(Duration),
}

/// Runs `step` until the process stops.
pub async fn run_loop<Step>(
    name: &'static str,
    bell: Arc<Notify>,
    shutdown: Shutdown,
    mut step: impl FnMut() -> Step + Send,
) where
    Step: Future<Output = anyhow::Result<Progress>> + Send,
{
    while !shutdown.is_stopping() {
        // Armed before the step looks, so that a ring in between is not missed.
        let rung = bell.notified();
        let pause = match step().await {
            Ok(Progress::Worked) => continue,
            Ok(Progress::Idle) => TICK,
            Ok(Progress::IdleFor(pause)) => pause.min(TICK),
            Err(error) => {
                tracing::error!(station = name, "failed to {error:#}");
                metrics::counter!("clawkaka_step_errors_total", "station" => name).increment(1);
                AFTER_ERROR
            }
        };
        tokio::select! {
            () = rung => {}
            () = tokio::time::sleep(pause) => {}
            () = shutdown.stopping() => {}
        }
    }
}
