//! What became of a send: by the POST's answer or by receipts, in either order.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{FRESH_FOR, HELD_FOR, Post, State, verdict::Verdict};
use crate::{
    backoff,
    id::{LineId, OutboxId, TenantId, WorkerId},
};

/// A person who wrote this recently has opened the window, whatever WhatsApp said meanwhile.
const JUST_WROTE: TimeDelta = TimeDelta::minutes(2);

/// A row as `receipt` sees it, locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The latest attempt.
    pub post: Post,
    pub state: State,
    pub wamid: Option<String>,
    pub rank: i16,
}

/// Stores what a failed POST means. False if the claim was lost: somebody knows better by now.
pub async fn finish(
    db: &mut PgConnection,
    worker: WorkerId,
    post: Post,
    verdict: Verdict,
    error: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    put(db, Some(worker), post, verdict, error, now).await
}

/// Stores what a `failed` receipt means for a row that [`lock`] gave.
pub async fn refuse(
    db: &mut PgConnection,
    row: &Row,
    verdict: Verdict,
    error: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    put(db, None, row.post, verdict, error, now).await
}

async fn put(
    db: &mut PgConnection,
    fence: Option<WorkerId>,
    post: Post,
    verdict: Verdict,
    error: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let verdict = match verdict {
        Verdict::Hold if wrote_just_now(db, post.tenant, now).await? => {
            Verdict::Retry(backoff::TRANSIENT.after(post.attempt, post.id.0))
        }
        verdict => verdict,
    };
    let (state, run_after, expires_at, done_at) = match verdict {
        Verdict::Retry(after) => (State::Queued, Some(later(now, after)), None, None),
        Verdict::Unknown => (State::Unknown, None, None, None),
        Verdict::Hold => (State::Held, None, Some(now + HELD_FOR), None),
        Verdict::Fail => (State::Failed, None, None, Some(now)),
    };
    let stored = sqlx::query!(
        "update outbox set error = $6, wamid = null, rank = 0,
             state = case when $5 = 'held' and type = 'template' then 'failed' else $5 end,
             done_at = case when $5 = 'held' and type = 'template' then $10::timestamptz else $7 end,
             run_after = coalesce($8, run_after), expires_at = coalesce($9, expires_at)
         where id = $1 and tenant_id = $2 and attempt = $3
           and ($4::uuid is null or (worker_id = $4 and state = 'sending'))",
        post.id as OutboxId,
        post.tenant as TenantId,
        post.attempt,
        fence as Option<WorkerId>,
        state as State,
        error,
        done_at,
        run_after,
        expires_at,
        now,
    )
    .execute(db)
    .await
    .context("store what became of a message")?;
    Ok(stored.rows_affected() == 1)
}

/// The lock makes us wait for a transaction that is about to say so: it found nothing to release.
async fn wrote_just_now(
    db: &mut PgConnection,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let last = sqlx::query_scalar!(
        "select last_inbound_at from tenant where id = $1 for share",
        tenant as TenantId,
    )
    .fetch_one(db)
    .await
    .context("look when the person wrote")?;
    Ok(last.is_some_and(|at| at > now - JUST_WROTE))
}

/// Finds a row by WhatsApp's id, for receipts that came without our callback data.
pub async fn find_by_wamid(
    db: impl PgExecutor<'_>,
    line: LineId,
    wamid: &str,
) -> anyhow::Result<Option<OutboxId>> {
    sqlx::query_scalar!(
        r#"select o.id as "id: OutboxId" from outbox o join tenant t on t.id = o.tenant_id
           where o.wamid = $1 and t.line_id = $2"#,
        wamid,
        line as LineId,
    )
    .fetch_optional(db)
    .await
    .context("find a message by its wamid")
}

/// Locks a row for `receipt`, which knows a message and its line, not its person.
pub async fn lock(
    db: impl PgExecutor<'_>,
    line: LineId,
    id: OutboxId,
) -> anyhow::Result<Option<Row>> {
    let found = sqlx::query!(
        r#"select o.tenant_id as "tenant: TenantId", o.attempt, o.state as "state: State",
                  o.wamid, o.rank
           from outbox o join tenant t on t.id = o.tenant_id
           where o.id = $1 and t.line_id = $2 for update of o"#,
        id as OutboxId,
        line as LineId,
    )
    .fetch_optional(db)
    .await
    .context("lock a message")?;
    Ok(found.map(|row| Row {
        post: Post {
            id,
            tenant: row.tenant,
            attempt: row.attempt,
        },
        state: row.state,
        wamid: row.wamid,
        rank: row.rank,
    }))
}

/// WhatsApp has it: stored whatever we believed before, and whoever sends it now.
pub async fn take(
    db: impl PgExecutor<'_>,
    row: &Row,
    wamid: &str,
    rank: i16,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update outbox set state = 'accepted', error = null, wamid = coalesce(wamid, $3),
             rank = greatest(rank, $4), done_at = coalesce(done_at, $5)
         where id = $1 and tenant_id = $2",
        row.post.id as OutboxId,
        row.post.tenant as TenantId,
        wamid,
        rank,
        now,
    )
    .execute(db)
    .await
    .context("store that a message was taken")?;
    Ok(())
}

fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(by).unwrap_or(FRESH_FOR)
}
