//! Nothing is kept for ever: once an hour what was said is cleared, and later the rows go.
//!
//! In small batches with pauses between, each a statement of its own, so that nobody is held up and
//! a crash at any line costs nothing: the next pass finds what is left. Open rows are never
//! touched. What each table may forget stands with the table.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::{
    broker::usage,
    clock::Clock,
    id::TenantId,
    inbox,
    lease::Lease,
    lifecycle::Shutdown,
    line::{stored, unserved},
    media,
    outbox::forget,
    receipt, turn,
};

/// Long enough after a start that people come first, and soon enough for a process that never lives
/// an hour.
const FIRST_AFTER: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(3600);
/// After an error, mostly of Postgres being away.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
/// Rows of one statement: some tens of milliseconds on a busy machine.
const BATCH: i64 = 200;
/// Between two batches, for everybody else.
const PAUSE: Duration = Duration::from_millis(50);
/// Meta posts a webhook again for up to 7 days; a row is the proof that it was taken, and is kept 8
/// days longer. Receipts and turns are as old: they explain those rows.
const KEYS_KEPT: TimeDelta = TimeDelta::days(7 + 8);

/// How long a message waits for its writer to agree to be answered: as long as others are kept.
const UNDECIDED_FOR: TimeDelta = TimeDelta::days(7);

pub struct Sweeping {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
    /// How long bodies are kept once they are done with.
    pub retention: TimeDelta,
}

/// What there is to do, in this order: rows before the turns they name.
#[derive(Clone, Copy)]
enum Duty {
    InboxBodies,
    InboxErased,
    InboxUndecided,
    OutboxBodies,
    OutboxErased,
    Inbox,
    Turn,
    Receipt,
    Usage,
    Media,
    Upload,
    LineSecrets,
    UnservedGroup,
}

const DUTIES: [Duty; 13] = [
    Duty::InboxBodies,
    Duty::InboxErased,
    Duty::InboxUndecided,
    Duty::OutboxBodies,
    Duty::OutboxErased,
    Duty::Inbox,
    Duty::Turn,
    Duty::Receipt,
    Duty::Usage,
    Duty::Media,
    Duty::Upload,
    Duty::LineSecrets,
    Duty::UnservedGroup,
];

impl Sweeping {
    pub async fn run(self, shutdown: Shutdown) {
        let mut pause = FIRST_AFTER;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.stopping() => return,
            }
            let swept = tokio::select! {
                swept = self.pass() => swept,
                () = shutdown.stopping() => return,
            };
            pause = match swept {
                Ok(()) => EVERY,
                // It goes on where it stopped, and nobody waits for it.
                Err(error) => {
                    tracing::warn!("failed to sweep: {error:#}");
                    metrics::counter!("clawkaka_step_errors_total", "station" => "sweep")
                        .increment(1);
                    AGAIN_AFTER
                }
            };
        }
    }

    /// Everything that is due. Ends early when the lease is lost: its next holder goes on.
    pub async fn pass(&self) -> anyhow::Result<()> {
        for duty in DUTIES {
            while self.lease.is_held() && self.batch(duty, BATCH).await? == BATCH as u64 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let mut person = None;
        while self.lease.is_held()
            && let Some(next) = forget::person_after(&self.db, person).await?
        {
            while self.forget_messages(next, BATCH).await? == BATCH as u64 {
                tokio::time::sleep(PAUSE).await;
            }
            person = Some(next);
        }
        if self.lease.is_held() {
            let now = self.clock.now().timestamp();
            metrics::gauge!("clawkaka_swept_timestamp_seconds").set(now as f64);
        }
        Ok(())
    }

    async fn batch(&self, duty: Duty, limit: i64) -> anyhow::Result<u64> {
        let (db, now) = (&self.db, self.clock.now());
        let said_before = now - self.retention;
        let keys_before = self.keys_before(now);
        let (what, count) = match duty {
            Duty::InboxBodies => (
                "inbox_bodies",
                inbox::forget::clear_bodies(db, said_before, limit).await?,
            ),
            Duty::InboxErased => (
                "inbox_bodies",
                inbox::forget::clear_erased(db, limit).await?,
            ),
            Duty::InboxUndecided => (
                "inbox_undecided",
                inbox::leave::end_undecided(db, now - UNDECIDED_FOR, now, limit).await?,
            ),
            Duty::OutboxBodies => (
                "outbox_bodies",
                forget::clear_bodies(db, said_before, limit).await?,
            ),
            Duty::OutboxErased => ("outbox_bodies", forget::clear_erased(db, limit).await?),
            Duty::Inbox => (
                "inbox",
                inbox::forget::forget(db, keys_before, limit).await?,
            ),
            Duty::Turn => ("turn", turn::forget(db, keys_before, limit).await?),
            Duty::Receipt => ("receipt", receipt::forget(db, keys_before, limit).await?),
            Duty::Usage => ("usage", usage::forget(db, now - usage::KEPT, limit).await?),
            Duty::LineSecrets => ("line_secrets", stored::forget(db, now).await?),
            Duty::UnservedGroup => (
                "unserved_group",
                unserved::forget(db, said_before, limit).await?,
            ),
            Duty::Media => ("media", media::forget(db, now - media::KEPT, limit).await?),
            Duty::Upload => ("upload", media::upload::forget(db, now, limit).await?),
        };
        swept(what, count);
        Ok(count)
    }

    async fn forget_messages(&self, person: TenantId, limit: i64) -> anyhow::Result<u64> {
        let before = self.keys_before(self.clock.now());
        let count = forget::forget(&self.db, person, before, limit).await?;
        swept("outbox", count);
        Ok(count)
    }

    /// A row stays at least as long as its body.
    fn keys_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - KEYS_KEPT.max(self.retention)
    }
}

fn swept(what: &'static str, count: u64) {
    metrics::counter!("clawkaka_swept_total", "what" => what).increment(count);
}
