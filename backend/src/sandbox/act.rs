//! Carries one step out. No decisions: what fails is logged and counted here, and the next pass
//! looks at what came of it.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{
    Sandboxes, Seen, files,
    plan::{Observed, Step},
    row::{self, Intent, Row},
    runtime::Container,
    spec::Spec,
};
use crate::id::SandboxId;

/// After the first failed start; doubled by each further one. A boot takes about five seconds, so
/// this costs nobody anything who is unlucky once.
const FIRST_BACKOFF: Duration = Duration::from_secs(2);
/// A sandbox that never comes up is tried so often for good: its cause may be outside of it.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// One step for one sandbox.
#[derive(Debug)]
pub struct Task {
    pub sandbox: SandboxId,
    pub step: Step,
    /// An operator wants it, whatever the sandbox still has to do.
    pub ordered: bool,
    row: Option<Row>,
    container: Option<Container>,
    spec: Option<Spec>,
}

impl Task {
    pub fn new(step: Step, row: Row, container: Option<Container>, spec: Option<Spec>) -> Self {
        Self {
            sandbox: row.id,
            step,
            ordered: row.intent != Intent::Auto,
            row: Some(row),
            container,
            spec,
        }
    }

    /// A container with our label of which we know no more than that.
    pub fn unknown(step: Step, container: Container) -> Self {
        Self {
            sandbox: container.sandbox,
            step,
            ordered: true,
            row: None,
            container: Some(container),
            spec: None,
        }
    }

    /// Its container runs, as far as the pass saw.
    pub fn runs(&self) -> bool {
        let container = self.container.as_ref();
        container.is_some_and(|container| container.observed == Observed::Running)
    }

    /// This run of its container.
    pub(super) fn seen(&self) -> Option<Seen> {
        let (row, container) = (self.row.as_ref()?, self.container.as_ref()?);
        Some(Seen {
            container_id: container.id.clone(),
            started_at: container.started_at.clone(),
            slot: row.slot,
            epoch: row.epoch,
            open: true,
        })
    }
}

/// How long to wait after so many failures in a row.
pub fn backoff(failures: i32) -> Duration {
    let doublings = failures.saturating_sub(1).clamp(0, 16).unsigned_abs();
    FIRST_BACKOFF
        .saturating_mul(1 << doublings)
        .min(MAX_BACKOFF)
}

impl Sandboxes {
    /// Performs a task of [`Sandboxes::pass`]; whatever comes of it, the sandbox is free again.
    pub async fn perform(&self, task: Task) {
        let container = task
            .container
            .as_ref()
            .map_or("", |container| &container.id);
        let step = format!("{:?}", task.step).to_lowercase();
        let begun = std::time::Instant::now();
        let done = self.try_perform(&task).await;
        self.notes().busy.remove(&task.sandbox);
        let (id, took) = (task.sandbox, begun.elapsed().as_millis());
        match done {
            Ok(()) => {
                tracing::info!(sandbox.id = %id, container.id = container, step, ms = took, "sandbox step");
                metrics::counter!("clawkaka_sandbox_steps_total", "step" => step).increment(1);
                self.wake();
            }
            // Not woken: the next pass is the next tick, so that a fast failure is no busy loop.
            Err(error) => {
                tracing::error!(sandbox.id = %id, container.id = container, step, "failed to {error:#}");
                metrics::counter!("clawkaka_sandbox_failures_total", "step" => step).increment(1);
            }
        }
    }

    async fn try_perform(&self, task: &Task) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        self.ensure_lease()?;
        let id = || {
            let container = task
                .container
                .as_ref()
                .context("find the container of a step");
            container.map(|container| container.id.as_str())
        };
        match task.step {
            Step::Nothing => Ok(()),
            Step::Create => self.create(task).await,
            Step::Start => self.start(task, id()?).await,
            Step::Stop => self.put_to_sleep(task, id()?).await,
            Step::Suspend => self.lull(task, id()?).await,
            Step::Meet => self.meet(task).await,
            Step::Pause => self.shut_in(id()?).await,
            Step::Unpause => self.wake_up(task, id()?).await,
            Step::Remove => parts.runtime.remove(id()?).await,
            Step::Bury => {
                parts.runtime.remove_volume(task.sandbox).await?;
                row::gone(&parts.pool, task.sandbox, parts.clock.now()).await
            }
        }
    }

    /// Behind fallen walls nothing may run on: what cannot be paused is taken away. Its volume
    /// stays, and what it was asked is asked again.
    async fn shut_in(&self, id: &str) -> anyhow::Result<()> {
        let runtime = &self.0.parts.runtime;
        let Err(error) = runtime.pause(id).await else {
            return Ok(());
        };
        tracing::warn!(container.id = id, "taken away after we failed to {error:#}");
        runtime.remove(id).await
    }

    async fn create(&self, task: &Task) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let spec = task
            .spec
            .as_ref()
            .context("find the specification of a step")?;
        let created = parts.runtime.create(spec).await;
        if created.is_err() {
            let failures = task.row.as_ref().map_or(0, |row| row.failures);
            let retry_at = parts.clock.now() + backoff(failures + 1);
            row::count_failure(&parts.pool, task.sandbox, retry_at).await?;
        }
        created
    }

    /// Counted before it is tried, so that a crash of ours at any line never makes a fast loop.
    pub(super) async fn start(&self, task: &Task, container: &str) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let row = task.row.as_ref().context("find the row of a step")?;
        let hash = task
            .container
            .as_ref()
            .map_or("", |container| &container.spec_hash);
        let broker_token = files::new_broker_token()?;
        row::begin_start(
            &parts.pool,
            row.id,
            hash,
            &files::broker_token_hash(&broker_token),
            parts.clock.now() + backoff(row.failures + 1),
        )
        .await?;
        let secrets = files::Secrets {
            gateway_token: &files::gateway_token(&parts.master, row.id, row.epoch),
            broker_token: &broker_token,
            broker_url: &parts.layout.broker_url(),
            model: &parts.model,
        };
        let uid = parts.layout.uid(row.slot);
        let archive = files::archive(&parts.master, row.id, uid, &secrets)?;
        let started = async {
            parts.runtime.upload(container, archive).await?;
            self.ensure_lease()?;
            parts.runtime.start(container).await
        };
        let started = started.await;
        if started.is_err() && self.ensure_lease().is_ok() {
            // What keeps it from starting may be the container's own: a network that was replaced.
            parts.runtime.remove(container).await?;
        }
        started
    }

    pub(super) fn ensure_lease(&self) -> anyhow::Result<()> {
        ensure!(
            (self.0.parts.lease_held)(),
            "act for a sandbox: the worker's lease is lost"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_failures_doubles_up_to_five_minutes() {
        let seconds = |failures| backoff(failures).as_secs();
        assert_eq!([0, 1, 2, 3].map(seconds), [2, 2, 4, 8]);
        assert_eq!([9, 100, i32::MAX].map(seconds), [300; 3]);
    }
}
