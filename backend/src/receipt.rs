//! Table `receipt`: what WhatsApp says became of a message, in whatever order it says it.
//!
//! `route` records, `worker/send` reports the answers of its POSTs. What a row becomes is worked out
//! afresh from all that is known of the message, under the row's lock, so that receipts and the
//! POST's answer commute, also when a receipt comes first. Ranks: sent 1, delivered 2, read 3,
//! played 4; `failed` counts until the message was delivered to some device after all.

use std::{fmt, str::FromStr};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::{
    id::{LineId, OutboxId, TenantId},
    line,
    outbox::{
        Post, State,
        result::{self, Row},
        verdict::{Refusal, Verdict},
    },
    whatsapp::{
        event::{Delivery, Status},
        failure,
    },
};

const DELIVERED: i16 = 2;
/// Long enough for every passing trouble, far shorter than a message's life.
const POISON_AFTER: TimeDelta = TimeDelta::minutes(10);

/// What we give WhatsApp with every send, and get back with every receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callback {
    pub id: OutboxId,
    pub attempt: i32,
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.attempt)
    }
}

impl FromStr for Callback {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (id, attempt) = text.split_once(':').context("read callback data")?;
        Ok(Self {
            id: OutboxId(id.parse()?),
            attempt: attempt.parse()?,
        })
    }
}

/// Stores a receipt and what it means. Repeats change nothing; one that belongs to nothing of ours
/// is kept. Afterwards the person's next message may be due.
pub async fn record(
    db: &mut PgConnection,
    line: LineId,
    status: &Status,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    // Callback data that is not of our making may come from another program on the same number.
    let callback: Option<Callback> = status
        .callback
        .as_deref()
        .and_then(|text| text.parse().ok());
    let id = match callback {
        Some(callback) => Some(callback.id),
        None => {
            take_turns(db, &status.wamid).await?;
            match find(db, line, &status.wamid).await? {
                Some(id) => Some(id),
                None => result::find_by_wamid(&mut *db, line, &status.wamid).await?,
            }
        }
    };
    let new = sqlx::query!(
        "insert into receipt (line_id, wamid, status, outbox_id, attempt, at, error, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        line as LineId,
        status.wamid,
        status.state.as_str(),
        id as Option<OutboxId>,
        callback.map(|callback| callback.attempt),
        status.at,
        status.error.as_ref().map(|error| error.code.to_string()),
        now,
    )
    .execute(&mut *db)
    .await
    .context("store a receipt")?;
    let state = status.state.as_str();
    metrics::counter!("clawkaka_receipts_total", "status" => state).increment(new.rows_affected());
    match id {
        Some(id) if new.rows_affected() == 1 => {
            let attempt = callback.map(|callback| callback.attempt);
            apply(db, line, id, attempt, &status.wamid, now).await
        }
        _ => Ok(()),
    }
}

/// Deletes some receipts that were recorded before then.
pub async fn forget(
    db: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from receipt where ctid = any(array(
             select ctid from receipt where recorded_at < $1
             order by recorded_at limit $2 for update skip locked))",
        before,
        limit,
    )
    .execute(db)
    .await
    .context("delete old receipts")?;
    Ok(deleted.rows_affected())
}

/// Deletes what WhatsApp said of messages to a person who is erased; while these still have rows.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from receipt r using outbox o
         where o.tenant_id = $1 and (r.outbox_id = o.id or r.wamid = o.wamid)",
        tenant as TenantId,
    )
    .execute(db)
    .await
    .context("delete a person's receipts")?;
    Ok(deleted.rows_affected())
}

/// The POST's own answer: WhatsApp took the message and calls it `wamid`.
pub async fn accepted(
    db: &mut PgConnection,
    line: LineId,
    post: Post,
    wamid: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    take_turns(db, wamid).await?;
    sqlx::query!(
        "update receipt set outbox_id = $3, attempt = $4
         where line_id = $1 and wamid = $2 and outbox_id is null",
        line as LineId,
        wamid,
        post.id as OutboxId,
        post.attempt,
    )
    .execute(&mut *db)
    .await
    .context("link receipts")?;
    apply(db, line, post.id, Some(post.attempt), wamid, now).await
}

/// Every receipt that arrived before this has been recorded: what still lies in the inbox has not.
/// A row that `route` has put off for [`POISON_AFTER`] will never be, and must not stop the repeats
/// of everybody else's messages.
pub async fn read_until(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> anyhow::Result<DateTime<Utc>> {
    let oldest = sqlx::query_scalar!(
        "select min(received_at) from inbox
         where done_at is null and tenant_id is null and kind = 'status'
           and (run_after <= received_at or received_at > $1)",
        now - POISON_AFTER,
    )
    .fetch_one(db)
    .await
    .context("look for receipts that wait")?;
    Ok(oldest.unwrap_or(now))
}

/// Whose message another receipt says this is. A row that failed and is sent again has forgotten.
async fn find(
    db: &mut PgConnection,
    line: LineId,
    wamid: &str,
) -> anyhow::Result<Option<OutboxId>> {
    let found = sqlx::query_scalar!(
        r#"select outbox_id as "id!: OutboxId" from receipt
           where line_id = $1 and wamid = $2 and outbox_id is not null limit 1"#,
        line as LineId,
        wamid,
    )
    .fetch_optional(db)
    .await
    .context("find the message of a receipt")?;
    Ok(found)
}

/// A receipt without callback data and the POST's answer find each other by `wamid` alone. Without
/// this lock each could look before the other has committed, and both would miss.
async fn take_turns(db: &mut PgConnection, wamid: &str) -> anyhow::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended($1, 0))",
        wamid
    )
    .execute(db)
    .await
    .context("wait for others who handle the same message")?;
    Ok(())
}

/// `attempt` is the POST that `wamid` came from; `None` if only the row can tell.
async fn apply(
    db: &mut PgConnection,
    line: LineId,
    id: OutboxId,
    attempt: Option<i32>,
    wamid: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    // First the lock, then the look: what commits in between must not be missed.
    let Some(row) = result::lock(&mut *db, line, id).await? else {
        return Ok(());
    };
    let seen = seen(db, line, wamid).await?;
    let Some(code) = seen.failed.filter(|_| seen.rank < DELIVERED) else {
        return result::take(db, &row, wamid, seen.rank, now).await;
    };
    if !is_news(&row, attempt, wamid) {
        return Ok(());
    }
    let refusal = Refusal::of_receipt(code);
    let decision = refusal.decide(id, row.post.attempt);
    let verdict = match attempt {
        // It failed, but we have POSTed it again meanwhile: that one's fate is open.
        Some(attempt) if attempt < row.post.attempt => Verdict::Unknown,
        _ => decision.row,
    };
    let reason = refusal.reason();
    result::refuse(&mut *db, &row, verdict, &reason, now).await?;
    if let Some(pause) = decision.line {
        line::stop(db, line, pause, &reason, now).await?;
    }
    failure::count("receipt", refusal.class, code);
    if decision.alert {
        tracing::error!(tenant.id = %row.post.tenant, message.id = %id, code = reason, ?verdict,
            "WhatsApp took a message and then refused it");
    } else {
        tracing::warn!(tenant.id = %row.post.tenant, message.id = %id, code = reason, ?verdict,
            "WhatsApp took a message and then refused it");
    }
    Ok(())
}

/// Whether a failure of this POST still matters. Not if the row waits, is held or has failed
/// already: then this was acted upon. Nor if the row was delivered under another id.
fn is_news(row: &Row, attempt: Option<i32>, wamid: &str) -> bool {
    match row.state {
        State::Sending | State::Unknown => attempt == Some(row.post.attempt),
        State::Accepted => row.wamid.as_deref() == Some(wamid) && row.rank < DELIVERED,
        State::Queued | State::Held | State::Failed => false,
    }
}

struct Seen {
    rank: i16,
    /// The code, where one was given.
    failed: Option<Option<i64>>,
}

async fn seen(db: &mut PgConnection, line: LineId, wamid: &str) -> anyhow::Result<Seen> {
    let rows = sqlx::query!(
        "select status, error from receipt where line_id = $1 and wamid = $2",
        line as LineId,
        wamid,
    )
    .fetch_all(db)
    .await
    .context("read the receipts of a message")?;
    let failed = rows
        .iter()
        .find(|row| row.status == Delivery::Failed.as_str());
    Ok(Seen {
        rank: rows.iter().map(|row| rank(&row.status)).max().unwrap_or(0),
        failed: failed.map(|row| row.error.as_deref().and_then(|code| code.parse().ok())),
    })
}

fn rank(status: &str) -> i16 {
    match status {
        "sent" => 1,
        "delivered" => DELIVERED,
        "read" => 3,
        "played" => 4,
        _ => 0,
    }
}
