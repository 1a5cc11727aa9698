//! From Kapso's list of messages to `inbox`: the way in where nothing of ours has a public address, and
//! beside a webhook the net under it.
//!
//! One loop per line of Kapso's (`follow`), in the process that holds the lease. A look lists what came since
//! the line's cursor (`line::cursor`) and stores it as webhooks would have; what the inbox has already it
//! ignores. The cursor moves after that, so that whoever dies looks again. What became of our own
//! messages is asked for in the same way, where nobody brings receipts and where they may be lost.
//!
//! Beside a webhook only what is older than [`GRACE`] is taken: whatever of that is new, the webhook
//! should have brought.

mod follow;
mod pace;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::{AFTER_ERROR, Progress};
use crate::{
    backoff,
    clock::Clock,
    id::LineId,
    inbox::{self, Sealed},
    lease::Lease,
    line::{
        self, Delivery, Line, Lines, Pause,
        cursor::{self, Cursor},
    },
    outbox::overdue,
    presence::{Asked, Receipts},
    seal::Sealer,
    wake::Wakes,
    whatsapp::{
        poll::{Direction, Lister, Trouble},
        provider::Provider,
        update::Update,
    },
};
use pace::Pace;

/// Kapso repeats a webhook for up to 140 s (Kapso docs: webhooks, retries): until then it is not lost.
const GRACE: TimeDelta = TimeDelta::seconds(150);
/// Rows in one statement, as many as Kapso gives in a page.
const PIECE: usize = 100;
/// Receipts come within seconds; who is away reads later, and that matters to nobody.
const RECEIPTS_OF: TimeDelta = TimeDelta::minutes(10);
/// How far Kapso's clock may be from ours, which says when a message was sent.
const SKEW: TimeDelta = TimeDelta::minutes(2);
/// A longer `Retry-After` is not believed.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// A key that is refused stays so until somebody changes it.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

pub struct Polling {
    pub db: PgPool,
    pub clock: Clock,
    pub sealer: Arc<Sealer>,
    pub lister: Lister,
    pub lines: Lines,
    pub lease: Lease,
    pub wakes: Wakes,
    /// When receipts were asked for.
    pub receipts: Receipts,
}

impl Polling {
    /// One look, and how long to wait before the next one.
    pub async fn look(&self, line: &Line, pace: &mut Pace) -> Duration {
        let now = self.clock.now();
        let every = self.every(line);
        let error = match self.step(line, pace, now).await {
            Ok(progress) => {
                pace.failures = 0;
                count("done");
                follow::tell(&line.phone_number_id, now.timestamp() as f64);
                return match progress {
                    Progress::Worked => Duration::ZERO,
                    Progress::Idle | Progress::IdleFor(_) => every,
                };
            }
            Err(error) => error,
        };
        pace.failures = pace.failures.saturating_add(1);
        let Some(trouble) = error.downcast_ref::<Trouble>() else {
            tracing::error!(station = "poll", "failed to {error:#}");
            metrics::counter!("clawkaka_step_errors_total", "station" => "poll").increment(1);
            return AFTER_ERROR;
        };
        count(trouble.as_str());
        let again = backoff::POLL.after(pace.failures, line.id.0);
        let pause = match trouble {
            Trouble::Refused => {
                self.stop(line.id, now).await;
                REFUSED_PAUSE
            }
            Trouble::Throttled(pause) => again.max(*pause),
            _ => again,
        };
        let pause = pause.clamp(every, MAX_PAUSE);
        tracing::warn!(line.id = %line.id, pause = pause.as_secs(), "{trouble}; asking again later");
        pause
    }

    /// As a send does whose key is refused.
    async fn stop(&self, line: LineId, now: DateTime<Utc>) {
        let stopped = line::stop(&self.db, line, Pause::Token, "TokenRejected", now).await;
        if let Err(error) = stopped {
            tracing::error!(station = "poll", "failed to {error:#}");
        }
    }

    async fn step(
        &self,
        line: &Line,
        pace: &mut Pace,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Progress> {
        let progress = self.messages(line, pace, now).await?;
        cursor::looked(&self.db, line.id, now).await?;
        if !pace.receipts_are_due(now) {
            return Ok(progress);
        }
        match self.statuses(line, pace, now).await.map_err(is_theirs) {
            Ok(()) => {}
            // Messages come all the same; unclear sends wait.
            Err(Ok(trouble)) => {
                count(trouble.as_str());
                tracing::warn!(line.id = %line.id, "{trouble}; asking for receipts again later");
                pace.receipts_failed(now);
            }
            Err(Err(error)) => return Err(error),
        }
        Ok(progress)
    }

    /// What people wrote.
    async fn messages(
        &self,
        line: &Line,
        pace: &mut Pace,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Progress> {
        let cursor = match cursor::read(&self.db, line.id).await? {
            Some(cursor) => cursor,
            None => {
                let cursor = Cursor::beginning(now);
                cursor::write(&self.db, line.id, cursor).await?;
                cursor
            }
        };
        let window = pace.window(&cursor, now);
        let listed = self.lister.list(line.sender(), Direction::Inbound, window);
        let listed = match listed.await {
            Err(Trouble::TooMany) => {
                count(Trouble::TooMany.as_str());
                pace.too_many(window, now)?;
                return Ok(Progress::Worked);
            }
            listed => listed?,
        };
        let newest = match line.delivery {
            Delivery::Poll => None,
            Delivery::Webhook => Some(now - GRACE),
        };
        let taken: Vec<_> = listed
            .into_iter()
            .filter(|update| is_ripe(update.provider_at, cursor.oldest(now), newest))
            .collect();
        let last = taken.iter().filter_map(|update| update.provider_at).max();
        let new = self.store(taken, now).await?;
        // Of a part all is stored up to its end, but for what is left to the webhook yet.
        let end = window
            .until
            .map(|until| newest.map_or(until, |newest| until.min(newest)));
        let moved = cursor.moved(last.max(end), now);
        if moved != cursor {
            cursor::write(&self.db, line.id, moved).await?;
        }
        if new > 0 {
            self.wakes.inbox.notify_one();
        }
        if new > 0 && line.delivery == Delivery::Webhook {
            let number = line.phone_number_id.clone();
            metrics::counter!("clawkaka_poll_missed_total", "line" => number).increment(new);
            tracing::warn!(line.id = %line.id, missed = new,
                "messages were found that no webhook brought");
        }
        Ok(pace.found(window, now))
    }

    /// What became of ours: of those of the last minutes, and of all of which we do not know.
    async fn statuses(
        &self,
        line: &Line,
        pace: &mut Pace,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let unclear = overdue::oldest_unclear(&self.db, line.id).await?;
        let recent = now - RECEIPTS_OF;
        let since = unclear.map_or(recent, |sent| recent.min(sent - SKEW));
        let window = pace.receipts_window(since, now);
        let listed = self.lister.list(line.sender(), Direction::Outbound, window);
        let listed = match listed.await {
            Err(Trouble::TooMany) => {
                count(Trouble::TooMany.as_str());
                return Ok(pace.too_many_receipts(window, now)?);
            }
            listed => listed?,
        };
        let new = self.store(listed, now).await?;
        let asked = Asked {
            at: now,
            from: since,
            to: window.until.map_or(now, |until| until - SKEW),
        };
        self.receipts.note(line.id, asked);
        if new > 0 {
            self.wakes.inbox.notify_one();
        }
        pace.receipts_done(window, now);
        Ok(())
    }

    /// The oldest first, piece by piece. How many were new.
    async fn store(&self, updates: Vec<Update>, now: DateTime<Utc>) -> anyhow::Result<u64> {
        let seal = |update| Sealed::new(&self.sealer, Provider::Kapso, update);
        let sealed: Vec<_> = updates.into_iter().map(seal).collect();
        let mut new = 0;
        for piece in sealed.chunks(PIECE) {
            let piece: Vec<_> = piece.iter().collect();
            let stored = inbox::accept(&self.db, &piece, now).await;
            new += stored.context("store what was listed")?;
        }
        Ok(new)
    }
}

/// What concerns only this one list; the rest, all that is asked with this key.
fn is_theirs(error: anyhow::Error) -> Result<Trouble, anyhow::Error> {
    let trouble = error.downcast::<Trouble>()?;
    match trouble {
        Trouble::Refused | Trouble::Throttled(_) => Err(trouble.into()),
        _ => Ok(trouble),
    }
}

/// A message without a time may be from any.
fn is_ripe(
    at: Option<DateTime<Utc>>,
    oldest: DateTime<Utc>,
    newest: Option<DateTime<Utc>>,
) -> bool {
    at.is_none_or(|at| at >= oldest && newest.is_none_or(|newest| at <= newest))
}

fn count(outcome: &'static str) {
    metrics::counter!("clawkaka_polls_total", "outcome" => outcome).increment(1);
}
