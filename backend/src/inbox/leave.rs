//! Rows that end without a turn: their person stops, leaves, is suspended or erased, or a restored
//! backup found them open.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::{LineId, TenantId};

/// Finishes what waits for a person, without a turn. How much that was.
pub async fn end_waiting(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    outcome: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let ended = sqlx::query!(
        "update inbox set done_at = $2, outcome = $3
         where tenant_id = $1 and turn_id is null and done_at is null",
        tenant as TenantId,
        now,
        outcome,
    )
    .execute(db)
    .await
    .context("end what waits for a person")?;
    Ok(ended.rows_affected())
}

/// Finishes what waits for the people of a line that has just been removed.
pub async fn refuse_waiting_on(
    db: impl PgExecutor<'_>,
    line: LineId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let refused = sqlx::query!(
        "update inbox set done_at = $2, outcome = 'refused'
         from tenant where tenant.id = inbox.tenant_id and tenant.line_id = $1
           and inbox.turn_id is null and inbox.done_at is null",
        line as LineId,
        now,
    )
    .execute(db)
    .await?;
    Ok(refused.rows_affected())
}

/// Finishes and empties what waits of somebody who does not agree to be answered.
pub async fn withdraw(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let withdrawn = sqlx::query!(
        "update inbox set body = null, done_at = $2, outcome = 'declined'
         where tenant_id = $1 and turn_id is null and done_at is null",
        tenant as TenantId,
        now,
    )
    .execute(db)
    .await
    .context("withdraw what waits of a person")?;
    Ok(withdrawn.rows_affected())
}

/// Finishes and empties some of what came before then from people who have not agreed since.
pub async fn end_undecided(
    db: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let ended = sqlx::query!(
        "update inbox set body = null, done_at = $2, outcome = 'undecided'
         where id = any(array(
             select i.id from inbox i join tenant t on t.id = i.tenant_id
             where i.done_at is null and i.turn_id is null and i.received_at < $1
               and t.status = 'undecided'
             limit $3 for update of i skip locked))",
        before,
        now,
        limit,
    )
    .execute(db)
    .await
    .context("end what waits for people to agree")?;
    Ok(ended.rows_affected())
}

/// Empties what a person wrote and gives up what waits of it. The rows stay as long as WhatsApp may
/// repeat them, or a repeat would be answered to somebody new; the sweep removes them.
pub async fn erase(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let emptied = sqlx::query!(
        "update inbox set body = null, turn_id = null, done_at = coalesce(done_at, $2),
                          outcome = case when done_at is null then 'erased' else outcome end
         where tenant_id = $1",
        tenant as TenantId,
        now,
    )
    .execute(db)
    .await
    .context("empty what a person wrote")?;
    Ok(emptied.rows_affected())
}

/// What was open when a backup was made has been answered since, or nobody waits for it any more.
pub async fn settle_restored(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let settled = sqlx::query!(
        "update inbox set done_at = $1, outcome = 'restored' where done_at is null",
        now,
    )
    .execute(db)
    .await
    .context("settle open messages of a backup")?;
    Ok(settled.rows_affected())
}
