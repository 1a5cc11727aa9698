//! What is known about the walls, and until when it counts. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::sandbox::{plan::Walls, runtime::Breach};

/// How often the walls are tried from inside.
const PROBE_EVERY: TimeDelta = TimeDelta::minutes(10);
/// After a probe that could not be made, or that found the walls open.
const PROBE_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(10);
/// When probes could not be made for so long, nothing new is started; what runs goes on, since the
/// rules are still read at every pass.
const PROOF_LASTS: TimeDelta = TimeDelta::minutes(30);

#[derive(Debug, Default)]
pub struct Record {
    breach: Option<Breach>,
    leak: Option<Breach>,
    proven_at: Option<DateTime<Utc>>,
    tried_at: Option<DateTime<Utc>>,
    /// Counts falls, so that a probe that ran meanwhile proves nothing.
    falls: u64,
}

impl Record {
    /// The result of reading the walls.
    pub fn checked(&mut self, result: Result<(), Breach>) {
        match result {
            Ok(()) if self.breach.take().is_some() => {
                tracing::warn!("walls: as they should be again; to be proven by a probe");
            }
            Ok(()) => {}
            Err(breach) => {
                if self.breach.is_none() {
                    tracing::error!("walls have fallen, sandboxes are paused: {breach}");
                }
                self.breach = Some(breach);
                self.proven_at = None;
                self.tried_at = None;
                self.falls += 1;
            }
        }
    }

    /// Says that a probe begins; hand the number back with its result.
    pub fn probe_begins(&mut self, now: DateTime<Utc>) -> u64 {
        self.tried_at = Some(now);
        self.falls
    }

    /// The result of a probe. An error means that it could not be made.
    pub fn probed(
        &mut self,
        begun: u64,
        result: anyhow::Result<Result<(), Breach>>,
        now: DateTime<Utc>,
    ) {
        match result {
            _ if begun != self.falls => tracing::info!("walls fell during a probe: it is void"),
            Ok(Ok(())) => {
                tracing::info!("walls proven from inside");
                self.leak = None;
                self.proven_at = Some(now);
            }
            Ok(Err(leak)) => {
                tracing::error!("walls leak, sandboxes are paused: {leak}");
                self.leak = Some(leak);
                self.proven_at = None;
            }
            Err(error) => tracing::warn!("failed to probe the walls: {error:#}"),
        }
    }

    pub fn probe_is_due(&self, now: DateTime<Utc>) -> bool {
        let tried = self.tried_at.is_some_and(|at| now < at + PROBE_AGAIN_AFTER);
        let fresh = self.proven_at.is_some_and(|at| now < at + PROBE_EVERY);
        self.breach.is_none() && !tried && !fresh
    }

    pub fn walls(&self, now: DateTime<Utc>) -> Walls {
        if self.why_fallen().is_some() {
            return Walls::Fallen;
        }
        match self.proven_at {
            Some(at) if now < at + PROOF_LASTS => Walls::Standing,
            _ => Walls::Unproven,
        }
    }

    /// When a probe last found the walls to hold; `None` since a fall.
    pub fn proven_at(&self) -> Option<DateTime<Utc>> {
        self.proven_at
    }

    pub fn why_fallen(&self) -> Option<&str> {
        self.breach.as_deref().or(self.leak.as_deref())
    }
}
