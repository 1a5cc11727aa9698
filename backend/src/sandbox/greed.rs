//! Whoever keeps a core busy all the time goes last: where there is not enough for all, everybody else
//! comes first. On a machine with time to spare nobody notices, not even the one who goes last.
//!
//! A limit would not do: a turn and a boot want two cores for a moment, and with less all of them take
//! longer. So the runtime is asked now and then how long each sandbox was at work. A boot is nobody's
//! greed, and what is known of a run ends with it, or with a pause.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};

use super::{Sandboxes, plan::Observed, runtime::Container};
use crate::lifecycle::Shutdown;

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Cores. OpenClaw at rest takes 0.02, and nearly one while somebody writes without a pause.
const GREEDY: f64 = 0.8;
const MODEST: f64 = 0.2;
/// Looks in a row. No turns that people ask for take half a minute of a core without a pause, and so
/// long a greedy one may be in the way of others.
const GREEDY_FOR: u32 = 3;
/// One who goes last has little on a busy machine, whatever it wants: a minute of that is no greed
/// any more, or it is found greedy again.
const MODEST_FOR: u32 = 6;

/// What is known of runs (container, start).
pub(super) type Known = HashMap<(String, String), Work>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// On cores, in all.
    time: Duration,
    read_at: DateTime<Utc>,
    goes_last: bool,
    /// Looks in a row at which it took more, or less, than it may.
    greedy: u32,
    modest: u32,
}

impl Work {
    /// Whether it is to go last from now on.
    fn judge(&mut self, time: Duration, now: DateTime<Utc>) -> bool {
        let passed = (now - self.read_at).as_seconds_f64();
        let cores = time.saturating_sub(self.time).as_secs_f64() / passed.max(f64::EPSILON);
        (self.time, self.read_at) = (time, now);
        let more = |count, one_more| if one_more { count + 1 } else { 0 };
        self.greedy = more(self.greedy, cores >= GREEDY);
        self.modest = more(self.modest, cores < MODEST);
        match self.goes_last {
            false => self.greedy >= GREEDY_FOR,
            true => self.modest < MODEST_FOR,
        }
    }
}

impl Sandboxes {
    /// Looks now and then, for as long as this process is the one that acts.
    pub(super) async fn watch_greed(self, shutdown: Shutdown) {
        let mut known = Known::new();
        while !shutdown.is_stopping() {
            if (self.0.parts.lease_held)()
                && let Err(error) = self.look_for_greed(&mut known).await
            {
                tracing::warn!("failed to see who is greedy: {error:#}");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.stopping() => {}
            }
        }
    }

    pub(super) async fn look_for_greed(&self, known: &mut Known) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let mut still = Known::new();
        for container in parts.runtime.containers().await? {
            let now = parts.clock.now();
            if container.observed != Observed::Running || self.is_booting(&container, now) {
                continue;
            }
            let run = (container.id.clone(), container.started_at.clone());
            match self.judge(&container, known.get(&run).copied(), now).await {
                Ok(Some(work)) => _ = still.insert(run, work),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(sandbox.id = %container.sandbox, "failed to see whether it is greedy: {error:#}");
                }
            }
        }
        let last = still.values().filter(|work| work.goes_last).count();
        metrics::gauge!("clawkaka_sandboxes_greedy").set(last as f64);
        *known = still;
        Ok(())
    }

    /// None: it is gone.
    async fn judge(
        &self,
        container: &Container,
        known: Option<Work>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<Work>> {
        let runtime = &self.0.parts.runtime;
        let id = &container.id;
        let Some(time) = runtime.time_on_cores(id).await? else {
            return Ok(None);
        };
        let Some(mut work) = known else {
            // A process before us may have put it there.
            return Ok(Some(Work {
                time,
                read_at: now,
                goes_last: runtime.goes_last(id).await?,
                greedy: 0,
                modest: 0,
            }));
        };
        let goes_last = work.judge(time, now);
        if goes_last != work.goes_last {
            runtime.put_last(id, goes_last).await?;
            work.goes_last = goes_last;
            tracing::info!(sandbox.id = %container.sandbox, goes_last, "greed");
        }
        Ok(Some(work))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// Judged after each of these numbers of seconds on cores, ten seconds apart.
    fn judged(seconds: &[f64]) -> Vec<bool> {
        let mut now = DateTime::UNIX_EPOCH;
        let mut work = Work {
            time: Duration::ZERO,
            read_at: now,
            goes_last: false,
            greedy: 0,
            modest: 0,
        };
        let each = seconds.iter().map(|more| {
            now += TimeDelta::seconds(10);
            work.goes_last = work.judge(work.time + Duration::from_secs_f64(*more), now);
            work.goes_last
        });
        each.collect()
    }

    #[test]
    fn a_core_for_half_a_minute_goes_last_and_turns_with_a_pause_do_not() {
        assert_eq!(judged(&[9.0, 9.0, 7.9, 9.0, 9.0, 0.2]), [false; 6]);
        assert_eq!(judged(&[0.2, 8.0, 20.0, 9.0]), [false, false, false, true]);
    }

    #[test]
    fn it_comes_back_after_a_minute_of_little() {
        let greedy = [20.0, 20.0, 20.0, 1.0, 1.0, 3.0];
        let modest = [1.0; 6];
        let judged = judged(&[&greedy[..], &modest].concat());
        assert_eq!(judged[2..11], [true; 9]);
        assert!(!judged[11]);
    }
}
