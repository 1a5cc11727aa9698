//! What a pass of the reconcile loop saw, and what of it each sandbox is judged by.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Busy, Sandboxes,
    capacity::{self, Seat, Shares},
    plan::{self, Facts, Needs, Observed, Step, Walls},
    row::{Intent, Row},
    runtime::Container,
};
use crate::id::SandboxId;

/// A boot that takes longer no longer holds others up. It is 5 s alone, and was 56 s on a busy machine.
const BOOT_LASTS: TimeDelta = TimeDelta::seconds(120);
/// After a person's last turn, before an outdated container is replaced.
const QUIET_AFTER: TimeDelta = TimeDelta::minutes(2);

pub struct Look {
    pub rows: HashMap<SandboxId, Row>,
    /// Their containers.
    pub own: HashMap<SandboxId, Container>,
    pub open_turns: HashMap<SandboxId, DateTime<Utc>>,
    pub walls: Walls,
    pub now: DateTime<Utc>,
}

impl Look {
    /// Those for whom somebody waits first, and whoever waits longest first of all.
    pub fn in_order(&self) -> Vec<&Row> {
        let mut rows: Vec<_> = self.rows.values().collect();
        rows.sort_by_key(|row| {
            let since = self.open_turns.get(&row.id);
            (since.is_none(), since, row.id)
        });
        rows
    }

    /// It takes no memory.
    fn is_asleep(&self, id: SandboxId) -> bool {
        use Observed::{Dead, Exited, Missing};
        matches!(self.observed(id), Missing | Exited | Dead)
    }

    fn observed(&self, id: SandboxId) -> Observed {
        self.own
            .get(&id)
            .map_or(Observed::Missing, |container| container.observed)
    }

    /// Nobody in the pool is being made: it grows one by one.
    pub fn pool_is_settled(&self) -> bool {
        let mut members = self.rows.values().filter(|row| row.is_in_pool());
        members.all(|row| row.booted && self.observed(row.id) == Observed::Paused)
    }
}

impl Row {
    /// It waits for somebody to own it.
    pub fn is_in_pool(&self) -> bool {
        self.pooled && self.intent == Intent::Auto
    }

    fn active_at(&self) -> Option<DateTime<Utc>> {
        self.last_active_at.max(self.wake_at)
    }
}

impl Sandboxes {
    /// Who may be awake.
    pub(super) fn share(&self, look: &Look) -> Shares {
        let parts = &self.0.parts;
        let seats: Vec<_> = look.rows.values().map(|row| self.seat(look, row)).collect();
        let mut shares = capacity::share(parts.capacity, parts.boots, &seats);
        self.notes().crowded = shares.waiting.clone();
        metrics::gauge!("clawkaka_sandboxes_capacity").set(parts.capacity as f64);
        metrics::gauge!("clawkaka_sandboxes_crowded_out").set(shares.waiting.len() as f64);
        // What is left over goes to one of the pool at a time, and only if no boot is under way that
        // somebody waits for.
        let asleep = |row: &&Row| row.is_in_pool() && look.is_asleep(row.id);
        let next = look.rows.values().filter(asleep).min_by_key(|row| row.id);
        if let Some(row) = next
            && shares.free > 0
            && shares.waiting.is_empty()
            && self.room(&look.own, look.now) >= parts.boots
        {
            shares.granted.insert(row.id);
            shares.free -= 1;
        }
        shares
    }

    fn seat(&self, look: &Look, row: &Row) -> Seat {
        let busy = self.notes().busy.get(&row.id).copied();
        let is = |step| busy == Some(Busy::Step(step));
        let asleep = look.is_asleep(row.id);
        let coming = is(Step::Create) || is(Step::Start);
        let called = row.wake_at.is_some_and(|at| {
            at + self.0.parts.sleep.pause_after > look.now
                && row.pause_at.max(row.stop_at).is_none_or(|order| order < at)
        });
        let open_since = look.open_turns.get(&row.id).copied();
        Seat {
            sandbox: row.id,
            taken: !asleep || coming,
            leaving: !asleep && (is(Step::Stop) || is(Step::Remove) || row.intent != Intent::Auto),
            wanted_since: open_since.or(row.wake_at.filter(|_| called)),
            idle_since: row.active_at(),
        }
    }

    /// All but what the specification and the room for boots say.
    pub(super) fn facts(&self, look: &Look, row: &Row, shares: &Shares) -> Facts {
        let parts = &self.0.parts;
        let (id, now) = (row.id, look.now);
        let container = look.own.get(&id);
        let observed = look.observed(id);
        let has_open_turn = look.open_turns.contains_key(&id);
        let has_place = shares.granted.contains(&id) || !look.is_asleep(id);
        let notes = self.notes();
        let is_met = container.is_some_and(|container| {
            let run = (container.id.clone(), container.started_at.clone());
            notes.ready.contains(&run)
        });
        // One that was paused by a process before us has been met by it.
        let unmet = row.is_in_pool() && !is_met && observed != Observed::Paused;
        let needs = Needs {
            intent: row.intent,
            has_work: (has_open_turn || unmet) && has_place,
            evicted: shares.evicted.contains(&id),
            pooled: row.is_in_pool(),
            active_at: row.last_active_at,
            wake_at: row.wake_at.filter(|_| has_place),
            pause_at: row.pause_at,
            stop_at: row.stop_at,
            observed,
        };
        Facts {
            wish: plan::wish(&needs, parts.sleep, now),
            observed,
            outdated: false,
            condemned: container.is_some_and(|container| notes.condemned.contains(&container.id)),
            quiet: !has_open_turn && row.last_active_at.is_none_or(|at| at + QUIET_AFTER < now),
            walls: look.walls,
            failures: row.failures,
            rested: row.retry_at.is_none_or(|at| at <= now),
            room: false,
            restless: row.intent == Intent::Auto
                && notes
                    .restless
                    .get(&id)
                    .is_some_and(|one| one.is_recent(now)),
            unmet: row.is_in_pool() && !is_met,
        }
    }

    /// How many more boots the machine can take: a boot lasts until its gateway has answered.
    pub(super) fn room(&self, own: &HashMap<SandboxId, Container>, now: DateTime<Utc>) -> usize {
        let mut booting: HashSet<_> = own
            .values()
            .filter(|container| self.is_booting(container, now))
            .map(|container| container.sandbox)
            .collect();
        let notes = self.notes();
        let starting = notes
            .busy
            .iter()
            .filter(|(_, busy)| **busy == Busy::Step(Step::Start));
        booting.extend(starting.map(|(id, _)| *id));
        self.0.parts.boots.saturating_sub(booting.len())
    }

    pub(super) fn is_booting(&self, container: &Container, now: DateTime<Utc>) -> bool {
        let started = DateTime::parse_from_rfc3339(&container.started_at);
        let run = (container.id.clone(), container.started_at.clone());
        container.observed == Observed::Running
            && !self.notes().ready.contains(&run)
            && started.is_ok_and(|at| now < at + BOOT_LASTS)
    }
}
