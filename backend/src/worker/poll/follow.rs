//! One loop per line of Kapso's, for as long as the line is there.
//!
//! Lines come, change and go while the process runs (`line::Lines`). A loop ends with its line, in the
//! middle of a look if need be: to be cut off costs a repetition. It begins anew when the line has
//! another key or another way in, so that a refused key that was replaced is tried at once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use secrecy::ExposeSecret;

use super::{Polling, pace::Pace};
use crate::{
    id::LineId,
    lifecycle::Shutdown,
    line::{Changes, Line},
    whatsapp::provider::Provider,
};

/// Another process may become the one that acts.
const LEASE_TICK: Duration = Duration::from_secs(5);

impl Polling {
    pub async fn run(self, shutdown: Shutdown) {
        let mut changes = self.lines.changes();
        let (mut loops, mut followed) = (FuturesUnordered::new(), HashSet::new());
        while !shutdown.is_stopping() {
            for id in self.of_kapso().map(|line| line.id) {
                if followed.insert(id) {
                    loops.push(self.keep(id));
                }
            }
            tokio::select! {
                Some(ended) = loops.next() => { followed.remove(&ended); }
                () = changes.next() => {}
                () = shutdown.stopping() => {}
            }
        }
    }

    fn of_kapso(&self) -> impl Iterator<Item = Arc<Line>> {
        let lines = self.lines.ids().into_iter();
        lines
            .filter_map(|id| self.lines.get(id))
            .filter(|line| line.api.provider == Provider::Kapso)
    }

    /// Returns when the line is gone.
    pub(super) async fn keep(&self, id: LineId) -> LineId {
        let mut changes = self.lines.changes();
        let mut number = None;
        while let Some(line) = self.lines.get(id) {
            // Until the first look has come to its end, nobody is late.
            tell(&line.phone_number_id, self.clock.now().timestamp() as f64);
            metrics::counter!("clawkaka_poll_missed_total", "line" => line.phone_number_id.clone())
                .increment(0);
            tokio::select! {
                () = self.poll(&line) => {}
                () = self.is_another(&line, &mut changes) => {}
            }
            number = Some(line.phone_number_id.clone());
        }
        if let Some(gone) = number {
            tell(&gone, f64::INFINITY);
        }
        id
    }

    async fn poll(&self, line: &Line) {
        let mut pace = Pace::default();
        loop {
            let pause = match self.lease.is_held() {
                true => self.look(line, &mut pace).await,
                false => LEASE_TICK,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns when the line has changed or is gone.
    pub(super) async fn is_another(&self, line: &Line, changes: &mut Changes) {
        let asks_the_same = |now: &Arc<Line>| {
            has_key_of(now, line)
                && (now.delivery, now.poll_every) == (line.delivery, line.poll_every)
        };
        while self
            .lines
            .get(line.id)
            .is_some_and(|now| asks_the_same(&now))
        {
            changes.next().await;
        }
    }

    /// How long after a look the next one is due.
    pub(super) fn every(&self, line: &Line) -> Duration {
        let sharing = self
            .of_kapso()
            .filter(|other| other.poll_every.is_none() && has_key_of(other, line));
        let sharing = u32::try_from(sharing.count()).unwrap_or(u32::MAX);
        let alone = super::pace::usual(line.delivery, sharing);
        line.poll_every.unwrap_or(alone)
    }
}

fn has_key_of(one: &Line, other: &Line) -> bool {
    one.access_token.expose_secret() == other.access_token.expose_secret()
}

/// When the last look came to its end.
pub(super) fn tell(number: &str, at: f64) {
    let line = number.to_owned();
    metrics::gauge!("clawkaka_poll_timestamp_seconds", "line" => line).set(at);
}
