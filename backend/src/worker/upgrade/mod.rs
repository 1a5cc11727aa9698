//! Upgrades: moves sandboxes to another image, one after the other, as the table `upgrade` asks for.
//!
//! A sandbox for which nobody waits is held still (`sandbox/hold`), its files are stored, and then it
//! gets a container of the new image, behind a shut door, until its gateway lets us in
//! (`sandbox/replace`). If it does not, image and files are put back as they were; nobody has read what
//! the new container did meanwhile, so that nothing of it was sent. Whoever writes waits at the door.
//!
//! The next worker holds every sandbox whose files the new image may have touched before the reconcile
//! loop begins, and reads from its row what was being done. Each of these has its story in
//! `upgrade/tests/deaths.rs`:
//!
//! | we die | the row says | the next worker |
//! |---|---|---|
//! | before its files are stored | `running`: nothing is changed | begins anew; until then the loop may start it as it was |
//! | between stored and noted | `running`: nothing is changed | begins anew; a second snapshot, the older is pruned later |
//! | between noted and its container removed | `replacing` | goes on: it is removed and made with the new image |
//! | between removed and made | `replacing` | the same |
//! | between made and started | `replacing` | makes it again |
//! | while its gateway boots | `replacing` | makes it again; nobody knows how far it was |
//! | between ready and noted | `replacing` | makes it again: it becomes ready again |
//! | after it is noted | `done`, and the row of the sandbox names the new image | does the next one |
//! | after it was found bad | `rolling_back` | puts its files back |
//! | while files are put back | `rolling_back` | puts them back again: nothing ran on them |
//! | between put back and noted | `rolling_back` | the same |
//!
//! Who dies over the same sandbox again and again goes back ([`MAX_BOOTS`]). A way back that fails is
//! tried until it succeeds, and the sandbox stays held: an agent without half of its memory is worse
//! than one that is late.

mod work;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use chrono::TimeDelta;
use sqlx::PgPool;

use super::{Progress, run_loop};
use crate::{
    backup::seal::BackupKey,
    clock::Clock,
    config::Backup,
    id::SandboxId,
    lease::Lease,
    lifecycle::Shutdown,
    sandbox::{Sandboxes, hold::Hold},
    upgrade::{self, Part, Run, State, look},
};

/// A sandbox in use, or for which there is no place, is tried again so soon.
const BUSY_FOR: TimeDelta = TimeDelta::seconds(5);
/// And after so long it is left out.
const GIVES_UP_AFTER: TimeDelta = TimeDelta::hours(6);
/// Errors, mostly of a store that is away, are tried again after so long. Of those that have changed
/// nothing yet only so often.
const AGAIN_AFTER: TimeDelta = TimeDelta::seconds(10);
const MAX_ATTEMPTS: i32 = 10;
/// So many workers may die over a new container; then it may be what kills them.
const MAX_BOOTS: i32 = 3;
/// A way back that failed so often needs somebody.
const STUCK_AFTER: i32 = 5;
const MEASURE_EVERY: Duration = Duration::from_secs(15);
/// How long it is remembered what was done.
const REMEMBERED_FOR: TimeDelta = TimeDelta::days(90);

pub struct Upgrading {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
    pub sandboxes: Sandboxes,
    pub key: BackupKey,
    /// Where snapshots go. Without, nothing that has files is upgraded.
    pub settings: Option<Backup>,
    /// Sandboxes that the new image may have touched.
    held: Mutex<HashMap<SandboxId, Arc<Hold>>>,
}

/// What a look at one sandbox led to.
enum Came {
    /// It is over, and why.
    To(State, &'static str),
    /// Not now, and why; it has cost nothing.
    Later(&'static str),
    /// It is noted already, or somebody else's.
    Noted,
}

impl Upgrading {
    pub fn new(
        db: PgPool,
        clock: Clock,
        lease: Lease,
        sandboxes: Sandboxes,
        key: BackupKey,
        settings: Option<Backup>,
    ) -> Self {
        Self {
            db,
            clock,
            lease,
            sandboxes,
            key,
            settings,
            held: Mutex::default(),
        }
    }

    pub fn run(self, shutdown: &Shutdown) {
        let upgrading = Arc::new(self);
        let (measuring, stop) = (upgrading.clone(), shutdown.clone());
        let station = run_loop("upgrade", Arc::default(), shutdown.clone(), move || {
            let upgrading = upgrading.clone();
            async move { upgrading.step().await }
        });
        // Boots take long, and a stop does not wait for one: it is as if we died.
        let stopping = shutdown.clone();
        shutdown.run_forever("upgrade", async move {
            tokio::select! {
                () = station => {}
                () = stopping.stopping() => {}
            }
        });
        shutdown.run_forever("upgrade's figures", async move {
            measuring.keep_measuring(stop).await;
        });
    }

    async fn keep_measuring(&self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            if self.lease.is_held()
                && let Err(error) = self.measure().await
            {
                tracing::warn!("failed to {error:#}");
            }
            tokio::select! {
                () = tokio::time::sleep(MEASURE_EVERY) => {}
                () = shutdown.stopping() => {}
            }
        }
    }

    /// What the figures say, every now and then.
    pub async fn measure(&self) -> anyhow::Result<()> {
        let stopped =
            look::last_stopped(&self.db).await? || look::is_stuck(&self.db, STUCK_AFTER).await?;
        metrics::gauge!("clawkaka_upgrade_stopped").set(f64::from(u8::from(stopped)));
        Ok(())
    }

    /// Holds all that the new image may have touched. Before the reconcile loop begins.
    pub async fn hold_those_begun(&self) -> anyhow::Result<()> {
        for sandbox in upgrade::begun(&self.db).await? {
            if let Some(hold) = self.sandboxes.reserve(sandbox) {
                self.held().insert(sandbox, Arc::new(hold));
            }
        }
        Ok(())
    }

    /// Does one thing.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        if !self.lease.is_held() {
            return Ok(Progress::Idle);
        }
        let Some(run) = upgrade::running(&self.db).await? else {
            return Ok(Progress::Idle);
        };
        let tally = look::tally(&self.db, run.id).await?;
        let stops = tally.stops(&run);
        let now = self.clock.now();
        let taken = upgrade::take(&self.db, &run, self.lease.id, stops.is_none(), now).await?;
        let Some(part) = taken else {
            if tally.begun > 0 || (stops.is_none() && tally.waiting > 0) {
                return Ok(Progress::Idle);
            }
            self.finish(&run, stops).await?;
            return Ok(Progress::Worked);
        };
        let came = Box::pin(self.work(&run, &part)).await;
        self.note(&run, &part, came).await?;
        Ok(Progress::Worked)
    }

    async fn finish(&self, run: &Run, stops: Option<&'static str>) -> anyhow::Result<()> {
        let now = self.clock.now();
        let (state, outcome) = match stops {
            Some(why) => ("stopped", why),
            None => ("done", "whole"),
        };
        upgrade::finish(&self.db, run, state, outcome, now).await?;
        if matches!(stops, Some("canary" | "failures")) {
            tracing::error!(upgrade.id = %run.id, outcome, "an upgrade was stopped");
        } else {
            tracing::info!(upgrade.id = %run.id, outcome, "an upgrade has ended");
        }
        upgrade::forget(&self.db, REMEMBERED_FOR, now).await
    }

    async fn note(&self, run: &Run, part: &Part, came: anyhow::Result<Came>) -> anyhow::Result<()> {
        let (now, worker) = (self.clock.now(), self.lease.id);
        let put_off = async |why, counted, after| {
            upgrade::later(&self.db, part, worker, why, counted, now + after).await
        };
        match came {
            Ok(Came::Noted) => Ok(()),
            Ok(Came::To(state, outcome)) => self.end(run, part, state, outcome).await,
            Ok(Came::Later(_))
                if part.state == State::Running && now > part.started_at + GIVES_UP_AFTER =>
            {
                self.end(run, part, State::Skipped, "in_use").await
            }
            Ok(Came::Later(why)) => put_off(Some(why), false, BUSY_FOR).await,
            Err(error) if part.state == State::Running && part.attempts >= MAX_ATTEMPTS => {
                tracing::warn!(sandbox.id = %part.sandbox, "failed to {error:#}");
                self.end(run, part, State::Failed, "error").await
            }
            Err(error) => {
                tracing::warn!(sandbox.id = %part.sandbox, "failed to {error:#}");
                put_off(None, true, AGAIN_AFTER).await
            }
        }
    }

    /// Writes down how it ended, and only then lets go of it.
    async fn end(
        &self,
        run: &Run,
        part: &Part,
        state: State,
        outcome: &'static str,
    ) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await.context("end an upgrade")?;
        let (worker, now) = (self.lease.id, self.clock.now());
        if !upgrade::end(&mut tx, run, part, worker, (state, outcome), now).await? {
            return Ok(());
        }
        tx.commit().await.context("end an upgrade")?;
        self.held().remove(&part.sandbox);
        metrics::counter!("clawkaka_sandbox_upgrades_total", "outcome" => state.as_str())
            .increment(1);
        match state {
            State::RolledBack | State::Failed => tracing::error!(sandbox.id = %part.sandbox,
                upgrade.id = %run.id, outcome, "a sandbox was not upgraded: {}", state.as_str()),
            _ => tracing::info!(sandbox.id = %part.sandbox, upgrade.id = %run.id, outcome,
                "upgrade of a sandbox: {}", state.as_str()),
        }
        Ok(())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, Arc<Hold>>> {
        self.held.lock().expect("no holder of the holds can panic")
    }
}
