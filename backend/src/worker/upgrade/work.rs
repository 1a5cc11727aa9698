//! One sandbox: stored, replaced, and put back if that came to nothing.

use std::{sync::Arc, time::Duration};

use anyhow::Context;

use super::{Came, MAX_BOOTS, Upgrading};
use crate::{
    backup::{
        archive::Manifest,
        snapshot,
        store::{self, Store},
    },
    sandbox::{
        hold::{From, Hold},
        replace::Verdict,
        row::{
            Intent,
            image::{self, Runs},
            saved,
        },
    },
    upgrade::{self, Part, Run, State},
};

impl Upgrading {
    /// Takes it on from where its row says it is.
    pub(super) async fn work(&self, run: &Run, part: &Part) -> anyhow::Result<Came> {
        // Whoever was erased meanwhile: the reconcile loop sees to the rest.
        let Some(runs) = image::of(&self.db, part.sandbox).await? else {
            return Ok(Came::To(State::Skipped, "gone"));
        };
        match part.state {
            State::RollingBack => self.roll_back(part, &runs).await,
            State::Replacing => self.replace(run, part, &runs).await,
            _ => self.begin(run, part, &runs).await,
        }
    }

    /// Everything before the first change.
    async fn begin(&self, run: &Run, part: &Part, runs: &Runs) -> anyhow::Result<Came> {
        if runs.intent != Intent::Auto {
            return Ok(Came::To(State::Skipped, "suspended"));
        }
        if runs.image.as_ref() == Some(&run.image) {
            return Ok(Came::To(State::Skipped, "current"));
        }
        if self.sandboxes.image_id(&run.image).await?.is_none() {
            return Ok(Came::To(State::Failed, "no_image"));
        }
        // What it ran is gone: it gets the current image when it next wakes, and there is no way back.
        if let Some(old) = &runs.image
            && self.sandboxes.image_id(old).await?.is_none()
        {
            return Ok(Came::To(State::Skipped, "image_lost"));
        }
        let Some(settings) = &self.settings else {
            return Ok(Came::To(State::Failed, "no_store"));
        };
        if !self.sandboxes.may_boot(part.sandbox).await? {
            return Ok(Came::Later("no_place"));
        }
        let Some(hold) = self.hold_idle(part).await? else {
            return Ok(Came::Later("in_use"));
        };
        let store = Store::open(&settings.to)?;
        let Some(snapshot) = self.store(&store, &hold, runs).await? else {
            // Without files there is nothing that an image could spoil.
            return Ok(Came::To(State::Done, "never_started"));
        };
        if image::of(&self.db, part.sandbox).await?.is_none() {
            // They were erased while it was stored, and their other snapshots with them.
            store.delete(&snapshot).await?;
            return Ok(Came::To(State::Skipped, "gone"));
        }
        let part = Part {
            state: State::Replacing,
            image_before: runs.image.clone(),
            snapshot: Some(snapshot),
            attempts: 1,
            ..part.clone()
        };
        // Kept also if nobody knows whether it was noted: the next look goes on with this hold.
        self.held().insert(part.sandbox, hold);
        if !upgrade::replacing(&self.db, &part, self.lease.id).await? {
            self.held().remove(&part.sandbox);
            return Ok(Came::Noted);
        }
        let came = self.replace(run, &part, runs).await;
        self.note_next(run, &part, came).await
    }

    /// The way back, opened once before it is relied upon.
    async fn store(
        &self,
        store: &Store,
        hold: &Hold,
        runs: &Runs,
    ) -> anyhow::Result<Option<String>> {
        let now = self.clock.now();
        let manifest = Manifest {
            kind: "sandbox".to_owned(),
            sandbox: hold.sandbox.0,
            taken_at: now,
            session_no: runs.session_no,
        };
        let name = store::snapshot(hold.sandbox, now);
        let taken = snapshot::take(store, &self.key, &self.sandboxes, hold, manifest, &name);
        let Some(taken) = taken.await? else {
            return Ok(None);
        };
        let count = taken.keep().await?;
        snapshot::verify(store, &self.key, &name).await?;
        saved::taken(&self.db, hold.sandbox, now).await?;
        metrics::counter!("clawkaka_backup_bytes_total").increment(count.bytes);
        Ok(Some(name))
    }

    /// From here on whatever happens is written down before it is done.
    async fn replace(&self, run: &Run, part: &Part, runs: &Runs) -> anyhow::Result<Came> {
        let within = Duration::from_secs(run.ready_within_seconds.unsigned_abs().into());
        let verdict = match (part.attempts > MAX_BOOTS, self.kept(part)) {
            (true, _) => Verdict::NotReady("kills_workers"),
            (false, None) => Verdict::Interrupted("in_use"),
            (false, Some(hold)) => self.sandboxes.replace(&hold, &run.image, within).await?,
        };
        let why = match verdict {
            Verdict::Ready => {
                self.prune(part).await;
                return Ok(Came::To(State::Done, "ready"));
            }
            Verdict::Interrupted(why) => return Ok(Came::Later(why)),
            Verdict::NotReady(why) => why,
        };
        tracing::warn!(sandbox.id = %part.sandbox, why, "a sandbox does not become ready: it gets back what it had");
        if !upgrade::rolling_back(&self.db, part, self.lease.id, why).await? {
            return Ok(Came::Noted);
        }
        let part = Part {
            state: State::RollingBack,
            outcome: Some(why.to_owned()),
            attempts: 1,
            ..part.clone()
        };
        let came = self.roll_back(&part, runs).await;
        self.note_next(run, &part, came).await
    }

    async fn roll_back(&self, part: &Part, runs: &Runs) -> anyhow::Result<Came> {
        let Some(hold) = self.kept(part) else {
            return Ok(Came::Later("in_use"));
        };
        let settings = self.settings.as_ref();
        let settings =
            settings.context("put a sandbox's files back: BACKUP_TO is not set any more")?;
        let name = part.snapshot.as_ref();
        let name = name.context("put a sandbox's files back: none were stored")?;
        let store = Store::open(&settings.to)?;
        snapshot::verify(&store, &self.key, name).await?;
        snapshot::put_back(&store, &self.key, &self.sandboxes, &hold, runs.slot, name).await?;
        Ok(Came::To(State::RolledBack, word(part)))
    }

    /// Held since the first change, or since we started.
    fn kept(&self, part: &Part) -> Option<Arc<Hold>> {
        let mut held = self.held();
        if let Some(hold) = held.get(&part.sandbox) {
            return Some(hold.clone());
        }
        let hold = Arc::new(self.sandboxes.reserve(part.sandbox)?);
        held.insert(part.sandbox, hold.clone());
        Some(hold)
    }

    async fn hold_idle(&self, part: &Part) -> anyhow::Result<Option<Arc<Hold>>> {
        let kept = self.held().remove(&part.sandbox);
        let Some(hold) = kept else {
            let hold = self.sandboxes.hold_idle(part.sandbox).await?;
            return Ok(hold.map(Arc::new));
        };
        let still = self.sandboxes.still(part.sandbox, From::Pause).await?;
        Ok(still.then_some(hold))
    }

    /// The next state is a look of its own: what came of it is noted as that state's.
    async fn note_next(
        &self,
        run: &Run,
        part: &Part,
        came: anyhow::Result<Came>,
    ) -> anyhow::Result<Came> {
        Box::pin(self.note(run, part, came)).await?;
        Ok(Came::Noted)
    }

    /// Keeps as many snapshots as a backup does. That there is one too many is no reason to fail.
    async fn prune(&self, part: &Part) {
        let Some(settings) = &self.settings else {
            return;
        };
        let pruned = async {
            let store = Store::open(&settings.to)?;
            let folder = store::snapshots(part.sandbox);
            store.keep_newest(&folder, settings.keep).await
        };
        if let Err(error) = pruned.await {
            tracing::warn!(sandbox.id = %part.sandbox, "failed to {error:#}");
        }
    }
}

fn word(part: &Part) -> &'static str {
    match part.outcome.as_deref() {
        Some("late") => "late",
        Some("ended") => "ended",
        Some("refused") => "refused",
        Some("kills_workers") => "kills_workers",
        _ => "not_started",
    }
}
