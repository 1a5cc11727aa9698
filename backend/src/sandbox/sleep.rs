//! Falling asleep and waking up, so that nothing is lost whatever happens in between.
//!
//! The door is shut first: from then on [`Sandboxes::endpoint`] lets nobody through, and who comes
//! waits there. Then the tables are asked once more, for a turn is written down before it comes to
//! the door. Then the gateway is asked to come to rest, and only then Docker is asked for anything.
//! What can go wrong, each with its story in `tests/asleep.rs`:
//!
//! | while | a message comes | we die |
//! |---|---|---|
//! | it is decided | its turn is found when the tables are asked again: nothing is done | nothing was done |
//! | it comes to rest | its turn is found at the next look: it goes on at once | it runs and takes on nothing; whoever dials next lets it go on |
//! | it is being paused | it waits at the door; the next pass wakes it | Docker tells that it is paused or that it runs |
//! | it is paused | the next pass wakes it | Docker tells that it is paused |
//! | it is being stopped | it waits at the door until it is started again | Docker tells what is left of it |
//! | it wakes | it waits at the door until it has woken | it runs and takes on nothing; whoever dials next lets it go on |
//!
//! A gateway that says it is busy is asked again later. One that says so for [`BUSY_AT_MOST`]
//! without any work of its person's is put to sleep anyway: nothing from a sandbox is trusted.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{Endpoint, Sandboxes, Seen, act::Task};
use crate::id::SandboxId;

/// Shortly after a boot a gateway tidies up and is busy meanwhile, for up to 8 s (measured).
const REST_WITHIN: Duration = Duration::from_secs(12);
/// The handshake with everything around it: a gateway that is not heard of by then is not resting.
const SHAKE_HANDS_WITHIN: Duration = Duration::from_secs(20);
/// A gateway that did not come to rest is asked again after so long; it may be asked 30 times a minute.
const ASK_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(5);
/// A turn takes ten minutes at most, so what is longer busy without one is not our person's.
const BUSY_AT_MOST: TimeDelta = TimeDelta::minutes(10);
/// To be let in by a gateway that has just been thawed: its sockets have survived.
const THAW_WITHIN: Duration = Duration::from_secs(10);

/// Whether a sandbox has work to do after all.
pub type IsNeeded<'a> = Box<dyn FnMut() -> BoxFuture<'a, bool> + Send + 'a>;

/// What is said to the gateway inside a sandbox; the owner of connections answers.
pub trait Gateway: Send + Sync {
    /// Resolves when it lets us in.
    fn meet<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Whether it came to rest in time, with nobody needing it meanwhile. If not, it goes on.
    fn suspend<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        patience: Duration,
        is_needed: IsNeeded<'a>,
    ) -> BoxFuture<'a, anyhow::Result<bool>>;

    /// It takes on work again.
    fn resume<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// A sandbox that does not come to rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restless {
    pub since: DateTime<Utc>,
    pub asked_at: DateTime<Utc>,
}

impl Restless {
    /// Not to be asked again yet.
    pub fn is_recent(&self, now: DateTime<Utc>) -> bool {
        now < self.asked_at + ASK_AGAIN_AFTER
    }
}

impl Sandboxes {
    /// Suspends and pauses.
    pub(super) async fn lull(&self, task: &Task, container: &str) -> anyhow::Result<()> {
        let runtime = &self.0.parts.runtime;
        if !self.comes_to_rest(task).await? {
            return Ok(());
        }
        let paused = runtime.pause(container).await;
        if paused.is_err() {
            self.let_go_on(task).await;
        }
        paused
    }

    /// Suspends and stops. A paused one has come to rest before.
    pub(super) async fn put_to_sleep(&self, task: &Task, container: &str) -> anyhow::Result<()> {
        let runtime = &self.0.parts.runtime;
        if task.runs() && !self.comes_to_rest(task).await? {
            return Ok(());
        }
        let stopped = runtime.stop(container).await;
        if stopped.is_err() && task.runs() {
            self.let_go_on(task).await;
        }
        stopped
    }

    /// Thaws, lets the gateway go on and opens the door.
    pub(super) async fn wake_up(&self, task: &Task, container: &str) -> anyhow::Result<()> {
        self.0.parts.runtime.unpause(container).await?;
        // If it does not, whoever dials it next tries again.
        self.let_go_on(task).await;
        if let Some((_, seen)) = self.behind(task) {
            self.open_door(task.sandbox, seen);
        }
        Ok(())
    }

    async fn comes_to_rest(&self, task: &Task) -> anyhow::Result<bool> {
        let (id, now) = (task.sandbox, self.0.parts.clock.now());
        // The door is shut by now: a turn that came through it stands in the table.
        if !task.ordered && self.is_needed(id).await {
            return Ok(false);
        }
        let since = self.notes().restless.get(&id).map(|one| one.since);
        if since.is_some_and(|since| now > since + BUSY_AT_MOST) {
            tracing::warn!(sandbox.id = %id, "a sandbox is busy without any work: it sleeps anyway");
            metrics::counter!("clawkaka_sandboxes_restless_total").increment(1);
            self.notes().restless.remove(&id);
            return Ok(true);
        }
        let rested = match self.behind(task) {
            Some((endpoint, _)) => {
                let needed: IsNeeded<'_> = Box::new(|| Box::pin(self.is_needed(id)));
                let suspended = self.0.parts.gateway.suspend(&endpoint, REST_WITHIN, needed);
                let suspended = timeout(SHAKE_HANDS_WITHIN, suspended).await;
                suspended.context("suspend it in time").flatten()
            }
            None => Ok(true),
        };
        match rested {
            Ok(true) => {
                self.notes().restless.remove(&id);
                return Ok(true);
            }
            Ok(false) => tracing::debug!(sandbox.id = %id, "a sandbox does not come to rest"),
            Err(error) => {
                tracing::debug!(sandbox.id = %id, "failed to suspend a gateway: {error:#}");
            }
        }
        if task.ordered {
            return Ok(true);
        }
        let mut notes = self.notes();
        let restless = notes.restless.entry(id).or_insert(Restless {
            since: now,
            asked_at: now,
        });
        restless.asked_at = now;
        Ok(false)
    }

    async fn let_go_on(&self, task: &Task) {
        if let Some((endpoint, _)) = self.behind(task) {
            let resumed = timeout(THAW_WITHIN, self.0.parts.gateway.resume(&endpoint)).await;
            if let Err(error) = resumed.context("resume it in time").flatten() {
                tracing::warn!(sandbox.id = %task.sandbox, "failed to resume a gateway: {error:#}");
            }
        }
    }

    /// Whether a turn is open. When the tables do not say, it may be.
    async fn is_needed(&self, id: SandboxId) -> bool {
        match (self.0.parts.open_turns)().await {
            Ok(open) => open.contains_key(&id),
            Err(_) => true,
        }
    }

    /// The gateway of the container that a task is about.
    pub(super) fn behind(&self, task: &Task) -> Option<(Endpoint, Seen)> {
        let seen = task.seen()?;
        Some((self.endpoint_of(task.sandbox, seen.clone()), seen))
    }
}
