//! Holds a sandbox still, so that its files can be read or replaced.
//!
//! A hold takes the one place that a step of the reconcile loop would take, so that the loop leaves
//! the sandbox alone and at most one of the two is at work. It is this process' own and ends with it:
//! whoever needs one has a row of their own that outlives a crash, and takes it again. A person who
//! writes meanwhile waits for its end, and so it is not taken from one who is being answered.

use std::{collections::HashSet, time::Duration};

use anyhow::Context;
use chrono::TimeDelta;

use super::{
    Busy, Sandboxes,
    act::Task,
    plan::{Observed, Step},
    row,
    runtime::{Container, Runtime},
};
use crate::id::SandboxId;

/// Docker tells of a change of state so soon.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// What a sandbox may be taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Sleep only: it is paused, or does not run.
    Sleep,
    /// Idleness, too: nobody has talked to it for so long. It is stopped.
    Quiet(TimeDelta),
    /// Any time at which no turn is open.
    Pause,
}

/// A sandbox that nobody else starts, stops or wakes. It ends when it is dropped.
pub struct Hold {
    sandboxes: Sandboxes,
    pub sandbox: SandboxId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.sandboxes.notes().busy.remove(&self.sandbox);
        // Somebody may have come meanwhile.
        self.sandboxes.wake();
    }
}

impl Sandboxes {
    /// Takes the place of a step without looking what the sandbox does. None: a step is under way.
    pub fn reserve(&self, sandbox: SandboxId) -> Option<Hold> {
        use std::collections::hash_map::Entry;
        let mut notes = self.notes();
        match notes.busy.entry(sandbox) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => {
                free.insert(Busy::Held);
                drop(notes);
                self.shut_doors(&HashSet::from([sandbox]));
                Some(Hold {
                    sandboxes: self.clone(),
                    sandbox,
                })
            }
        }
    }

    /// Holds a sandbox whose files stand still: it is paused, or no container of it runs. None: it is
    /// in use.
    pub async fn hold(&self, sandbox: SandboxId, from: From) -> anyhow::Result<Option<Hold>> {
        let Some(hold) = self.reserve(sandbox) else {
            return Ok(None);
        };
        Ok(self.still(sandbox, from).await?.then_some(hold))
    }

    /// Brings a sandbox that is held to stand still. False: it is in use.
    pub async fn still(&self, sandbox: SandboxId, from: From) -> anyhow::Result<bool> {
        let parts = &self.0.parts;
        let containers = parts.runtime.containers().await?;
        for container in containers.iter().filter(|one| one.sandbox == sandbox) {
            match container.observed {
                Observed::Missing | Observed::Created | Observed::Exited | Observed::Dead => {}
                Observed::Changing => return Ok(false),
                Observed::Paused => {}
                Observed::Running if !self.stops(container, from).await? => return Ok(false),
                Observed::Running => {}
            }
        }
        Ok(true)
    }

    /// Stops a sandbox that runs, once it has come to rest. False: it is in use.
    async fn stops(&self, container: &Container, from: From) -> anyhow::Result<bool> {
        let parts = &self.0.parts;
        let (id, now) = (container.sandbox, parts.clock.now());
        if from == From::Sleep || (parts.open_turns)().await?.contains_key(&id) {
            return Ok(false);
        }
        let rows = row::list(&parts.pool, &[id], now).await?;
        let Some(row) = rows.into_iter().find(|row| row.id == id) else {
            return Ok(false);
        };
        if let From::Quiet(span) = from
            && row.last_active_at.is_some_and(|last| last + span >= now)
        {
            return Ok(false);
        }
        self.ensure_lease()?;
        let task = Task::new(Step::Stop, row, Some(container.clone()), None);
        let stop = self.put_to_sleep(&task, &container.id);
        let stopped = tokio::time::timeout(SETTLES_WITHIN, stop).await;
        stopped.context("stop a sandbox in time")??;
        let found = parts.runtime.inspect(&container.id).await?;
        Ok(found.is_none_or(|found| found.observed != Observed::Running))
    }

    /// Removes the containers of a sandbox that is held: its volume is about to be replaced. One that
    /// runs is stopped before: a gateway that is killed while it boots leaves its lease behind, and
    /// the next one on the same files ends by itself (seen).
    pub async fn clear(&self, hold: &Hold) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        self.ensure_lease()?;
        for container in parts.runtime.containers().await? {
            if container.sandbox != hold.sandbox {
                continue;
            }
            if container.observed == Observed::Running
                && let Err(error) = parts.runtime.stop(&container.id).await
            {
                tracing::warn!(sandbox.id = %hold.sandbox, "failed to {error:#}; it is killed");
            }
            parts.runtime.remove(&container.id).await?;
        }
        Ok(())
    }

    /// What its volume is read and filled with.
    pub fn runtime(&self) -> &dyn Runtime {
        &*self.0.parts.runtime
    }

    /// The image that sandboxes run, and whose own is the uid of a slot.
    pub fn image(&self) -> &str {
        &self.0.parts.image
    }

    pub fn uid(&self, slot: i32) -> u32 {
        self.0.parts.layout.uid(slot)
    }
}
