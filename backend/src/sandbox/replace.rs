//! Gives a sandbox that is held a container of another image, and finds out whether its gateway lets
//! us in. The door stays shut: whoever writes meanwhile waits, and nothing that the new container
//! does is read by anybody, so that all of it can be taken back.
//!
//! The loop leaves a held sandbox alone, so what the loop would see to is seen to here: nothing
//! starts without a place, a free boot and walls that stand, and it ends when they fall.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use chrono::TimeDelta;
use tokio::time::Instant;

use super::{
    Endpoint, Sandboxes,
    act::Task,
    hold::{From, Hold},
    plan::{Observed, Step, Walls},
    row::{self, Row},
    runtime::Container,
    spec,
};
use crate::id::SandboxId;

/// How often a container that boots is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A gateway that was killed while it booted leaves a lease of 60 s on its databases behind, and each
/// that follows within that time waits 5 s for it and ends by itself (`openclaw-agent-db.ts`:
/// `withAgentDatabaseMaintenanceLease`). So only one that ends after that is the image's fault.
const KILLED_BLOCKS_FOR: TimeDelta = TimeDelta::seconds(75);
/// Before a gateway that ended by itself is started again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What came of a new container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its gateway lets us in.
    Ready,
    /// It does not, and why, in our word. Its container is gone.
    NotReady(&'static str),
    /// Nobody knows: something that is not the image's fault came between. Its container is gone,
    /// unless the engine is away: then it goes when this is tried again.
    Interrupted(&'static str),
}

/// Why a gateway may be started once more.
const ENDED: &str = "ended";

impl Sandboxes {
    /// The id of an image that is on this machine.
    pub async fn image_id(&self, reference: &str) -> anyhow::Result<Option<String>> {
        self.0.parts.runtime.image(reference).await
    }

    /// Whether a sandbox may be woken for a purpose of ours without anybody having to wait for it.
    pub async fn may_boot(&self, id: SandboxId) -> anyhow::Result<bool> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let containers = parts.runtime.containers().await?;
        let mut own: HashMap<_, _> = containers
            .into_iter()
            .map(|one| (one.sandbox, one))
            .collect();
        let awake = |container: &&Container| !container.started_at.is_empty();
        let has_place = own.get(&id).filter(awake).is_some()
            || own.values().filter(awake).count() < parts.capacity;
        // Its own boot, if it is still one, ends with its container.
        own.remove(&id);
        Ok(has_place
            && self.walls().walls(now) == Walls::Standing
            && self.notes().crowded.is_empty()
            && self.room(&own, now) > 0)
    }

    /// Holds a sandbox for which nobody waits, and brings it to stand still. None: it is in use.
    pub async fn hold_idle(&self, id: SandboxId) -> anyhow::Result<Option<Hold>> {
        let Some(hold) = self.reserve(id) else {
            return Ok(None);
        };
        // The door is shut by now: a turn that came through it stands in the table.
        if (self.0.parts.open_turns)().await?.contains_key(&id) {
            return Ok(None);
        }
        Ok(self.still(id, From::Pause).await?.then_some(hold))
    }

    /// An error says nothing about the image: the lease is lost, or the tables are away.
    pub async fn replace(
        &self,
        hold: &Hold,
        image: &str,
        within: Duration,
    ) -> anyhow::Result<Verdict> {
        let (parts, id) = (&self.0.parts, hold.sandbox);
        self.ensure_lease()?;
        if self.walls().walls(parts.clock.now()) != Walls::Standing {
            return Ok(Verdict::Interrupted("walls"));
        }
        let row = row::list(&parts.pool, &[id], parts.clock.now()).await?;
        let row = row.into_iter().find(|row| row.id == id);
        let row = row.context("find the row of a sandbox that is held")?;
        let begun = parts.clock.now();
        let give_up_at = Instant::now() + within;
        loop {
            if !self.engine_answers().await {
                return Ok(Verdict::Interrupted("engine"));
            }
            self.clear(hold).await?;
            let verdict = self.try_once(&row, image, give_up_at).await?;
            match verdict {
                Verdict::Ready => row::succeed(&parts.pool, id).await?,
                Verdict::NotReady(ENDED) if parts.clock.now() < begun + KILLED_BLOCKS_FOR => {
                    tracing::warn!(sandbox.id = %id, "a new gateway ended by itself: it is started again");
                    tokio::time::sleep(START_AGAIN_AFTER).await;
                    continue;
                }
                _ if self.engine_answers().await => self.clear(hold).await?,
                _ => {}
            }
            return Ok(verdict);
        }
    }

    async fn engine_answers(&self) -> bool {
        self.0.parts.runtime.containers().await.is_ok()
    }

    async fn try_once(
        &self,
        row: &Row,
        image: &str,
        give_up_at: Instant,
    ) -> anyhow::Result<Verdict> {
        match self.boot(row, image).await {
            Ok(Some(container)) => self.gate(row, container, give_up_at).await,
            Ok(None) => Ok(Verdict::Interrupted("walls")),
            Err(error) => {
                // Without the lease it is the next worker's.
                self.ensure_lease()?;
                tracing::warn!(sandbox.id = %row.id, image, "failed to {error:#}");
                Ok(match self.engine_answers().await {
                    true => Verdict::NotReady("not_started"),
                    false => Verdict::Interrupted("engine"),
                })
            }
        }
    }

    /// None: the walls do not stand around it.
    async fn boot(&self, row: &Row, image: &str) -> anyhow::Result<Option<Container>> {
        let parts = &self.0.parts;
        let id = parts.runtime.image(image).await?;
        let id = id.context("find the image on this machine")?;
        let spec = spec::spec(&parts.layout, &parts.shape, row.id, row.slot, &id)?;
        parts.runtime.create(&spec).await?;
        let made = parts.runtime.inspect(&spec.name).await?;
        let made = made.context("find the container that was just made")?;
        let container = made.id.clone();
        let task = Task::new(Step::Start, row.clone(), Some(made), Some(spec));
        self.start(&task, &container).await?;
        // Its port is isolated by this, before anybody dials it.
        let checked = parts.runtime.check_walls().await?;
        let stand = checked.is_ok();
        self.walls().checked(checked);
        let started = parts.runtime.inspect(&container).await?;
        let started = started.context("find the container that was just started")?;
        Ok(stand.then_some(started))
    }

    async fn gate(
        &self,
        row: &Row,
        container: Container,
        give_up_at: Instant,
    ) -> anyhow::Result<Verdict> {
        let task = Task::new(Step::Meet, row.clone(), Some(container), None);
        let Some((endpoint, _)) = self.behind(&task).filter(|_| task.runs()) else {
            return Ok(Verdict::NotReady(ENDED));
        };
        let met = tokio::select! {
            met = self.0.parts.gateway.meet(&endpoint) => met,
            verdict = self.ends(&endpoint) => return verdict,
            () = tokio::time::sleep_until(give_up_at) => return Ok(Verdict::NotReady("late")),
        };
        if let Err(error) = met {
            self.ensure_lease()?;
            tracing::warn!(sandbox.id = %row.id, "failed to reach a new gateway: {error:#}");
            return Ok(Verdict::NotReady("refused"));
        }
        // It boots no more.
        self.notes()
            .ready
            .insert((endpoint.container_id, endpoint.started_at));
        Ok(Verdict::Ready)
    }

    /// Resolves when there is no use in waiting for its gateway any longer.
    async fn ends(&self, endpoint: &Endpoint) -> anyhow::Result<Verdict> {
        let parts = &self.0.parts;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.ensure_lease()?;
            if self.walls().walls(parts.clock.now()) == Walls::Fallen {
                return Ok(Verdict::Interrupted("walls"));
            }
            // Docker that is away says nothing about the image.
            let Ok(found) = parts.runtime.inspect(&endpoint.container_id).await else {
                continue;
            };
            let runs = found.is_some_and(|found| {
                found.observed == Observed::Running && found.started_at == endpoint.started_at
            });
            if !runs {
                return Ok(Verdict::NotReady(ENDED));
            }
        }
    }
}
