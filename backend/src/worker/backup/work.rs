//! How each kind of job is done, once.

use anyhow::Context;
use chrono::TimeDelta;

use super::{Backing, Came};
use crate::{
    backup::{
        archive::{Count, Manifest, Refused},
        database,
        row::{self, End, Job, look},
        snapshot,
        store::{self, Store},
        tombstone,
    },
    id::SandboxId,
    sandbox::{hold::From, row::saved},
};

/// One that nobody has talked to for so long is stopped for its snapshot: longer than it takes to fall
/// asleep by itself.
const QUIET: TimeDelta = TimeDelta::minutes(10);
/// After so long in vain it is taken between two turns.
const PATIENT_FOR: TimeDelta = TimeDelta::hours(1);
/// How long it is remembered what was done.
const REMEMBERED_FOR: TimeDelta = TimeDelta::days(30);
const FORGOTTEN_AT_ONCE: i64 = 10_000;

impl Backing {
    /// First the sandboxes, then the tables, so that these know of everything that those say.
    pub(super) async fn all(&self, job: &Job, store: &Store) -> anyhow::Result<Came> {
        if job.outcome.is_none() {
            let mut tx = self.db.begin().await?;
            let changed = saved::changed(&mut *tx).await?;
            row::add_parts(&mut tx, job, &changed, self.clock.now()).await?;
            tx.commit().await.context("add the sandboxes of a backup")?;
            return Ok(Came::Parts);
        }
        tombstone::store_all(&self.db, store, &self.key, self.clock.now()).await?;
        let now = self.clock.now();
        let name = store::database(now);
        let tables = database::export(&self.db, store, &self.key, &name, now).await?;
        let parts = look::parts(&self.db, job.id).await?;
        self.prune(store, store::DATABASE).await?;
        row::forget(&self.db, now - REMEMBERED_FOR, FORGOTTEN_AT_ONCE).await?;
        Ok(Came::To(End {
            outcome: match parts.failed {
                0 => "whole",
                _ => "without_some",
            },
            object: Some(name),
            entries: parts.entries as u64 + tables.rows,
            bytes: parts.bytes as u64 + tables.bytes,
            stored_bytes: parts.stored_bytes as u64 + tables.stored_bytes,
        }))
    }

    pub(super) async fn snapshot(
        &self,
        job: &Job,
        store: &Store,
        sandbox: SandboxId,
    ) -> anyhow::Result<Came> {
        let now = self.clock.now();
        let Some(saved) = saved::of(&self.db, sandbox).await? else {
            return Ok(Came::Nothing("no_sandbox"));
        };
        // Whoever asked is waiting; the schedule is not.
        let from = match job.actor {
            None if now < job.requested_at + PATIENT_FOR => From::Quiet(QUIET),
            _ => From::Pause,
        };
        let Some(hold) = self.sandboxes.hold(sandbox, from).await? else {
            return Ok(Came::Busy);
        };
        let manifest = Manifest {
            kind: "sandbox".to_owned(),
            sandbox: sandbox.0,
            taken_at: now,
            session_no: saved.session_no,
        };
        let name = store::snapshot(sandbox, now);
        let taken =
            snapshot::take(store, &self.key, &self.sandboxes, &hold, manifest, &name).await?;
        // Nobody waits for a store that is slow or away.
        drop(hold);
        let Some(taken) = taken else {
            return Ok(Came::To(End {
                outcome: "no_volume",
                ..End::default()
            }));
        };
        let stored_bytes = taken.stored_bytes;
        let count = taken.keep().await?;
        // Whoever was erased meanwhile: their snapshots are deleted by a row behind this one.
        saved::taken(&self.db, sandbox, now).await?;
        self.prune(store, &store::snapshots(sandbox)).await?;
        metrics::counter!("clawkaka_backup_bytes_total").increment(count.bytes);
        Ok(Came::To(End {
            outcome: match count.skipped {
                0 => "whole",
                _ => "without_foreign",
            },
            object: Some(name),
            entries: count.entries,
            bytes: count.bytes,
            stored_bytes,
        }))
    }

    pub(super) async fn restore(
        &self,
        job: &Job,
        store: &Store,
        sandbox: SandboxId,
    ) -> anyhow::Result<Came> {
        let Some(saved) = saved::of(&self.db, sandbox).await? else {
            self.held().remove(&sandbox);
            return Ok(Came::Nothing("no_sandbox"));
        };
        let found = match &job.object {
            Some(name) => Some((
                name.clone(),
                snapshot::verify(store, &self.key, name).await?,
            )),
            None => self.newest_whole(store, sandbox).await?,
        };
        let Some((name, (manifest, count))) = found else {
            // It was never backed up: its agent begins anew.
            saved::put_back(&self.db, sandbox, saved.session_no).await?;
            self.held().remove(&sandbox);
            return Ok(Came::To(End {
                outcome: "no_snapshot",
                ..End::default()
            }));
        };
        if manifest.sandbox != sandbox.0 {
            return Err(Refused::Foreign("another sandbox's files").into());
        }
        let hold = self.held().remove(&sandbox);
        let hold = match hold {
            Some(hold) => Some(hold),
            None => self.sandboxes.reserve(sandbox),
        };
        let Some(hold) = hold else {
            return Ok(Came::Busy);
        };
        if !self.sandboxes.still(sandbox, From::Pause).await? {
            return Ok(Came::Busy);
        }
        // From here on there is no way back.
        row::progress(&self.db, job, count.entries, count.bytes).await?;
        let put_back = async {
            snapshot::put_back(store, &self.key, &self.sandboxes, &hold, saved.slot, &name).await?;
            saved::put_back(&self.db, sandbox, manifest.session_no).await
        };
        if let Err(error) = put_back.await {
            // Half of its files must not be taken for all: it stays held until the next attempt.
            self.held().insert(sandbox, hold);
            return Err(error);
        }
        let came = Ok(Came::To(End {
            outcome: "restored",
            object: Some(name),
            entries: count.entries,
            bytes: count.bytes,
            stored_bytes: 0,
        }));
        // Noted before the hold ends, or a second restore would take away what a turn left meanwhile.
        if let Err(error) = self.note(job, &came).await {
            self.held().insert(sandbox, hold);
            return Err(error);
        }
        drop(hold);
        Ok(Came::Parts)
    }

    /// Damaged ones are passed over, for an older memory is better than none.
    async fn newest_whole(
        &self,
        store: &Store,
        sandbox: SandboxId,
    ) -> anyhow::Result<Option<(String, (Manifest, Count))>> {
        let found = store.list(&store::snapshots(sandbox)).await?;
        let mut first_error = None;
        for object in found {
            match snapshot::verify(store, &self.key, &object.name).await {
                Ok(what) => return Ok(Some((object.name, what))),
                Err(error) => {
                    tracing::error!(sandbox.id = %sandbox, "failed to {error:#}; the one before is tried");
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    pub(super) async fn erase(
        &self,
        store: &Store,
        sandbox: Option<SandboxId>,
    ) -> anyhow::Result<Came> {
        tombstone::store_all(&self.db, store, &self.key, self.clock.now()).await?;
        let mut deleted = 0;
        if let Some(sandbox) = sandbox {
            for name in store.names(&store::snapshots(sandbox)).await? {
                store.delete(&name).await?;
                deleted += 1;
            }
        }
        Ok(Came::To(End {
            outcome: "erased",
            entries: deleted,
            ..End::default()
        }))
    }

    /// Keeps the newest.
    async fn prune(&self, store: &Store, folder: &str) -> anyhow::Result<()> {
        let keep = self
            .settings
            .as_ref()
            .map_or(usize::MAX, |settings| settings.keep);
        store.keep_newest(folder, keep).await
    }
}
