//! Rows whose person leaves or is erased, or that a restored backup found open.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::TenantId;

/// Gives up what somebody who wants to hear nothing more would still have been sent. What is being
/// sent right now cannot be called back; if that fails, [`super::overdue::silence`] ends it.
pub async fn discard(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let discarded = sqlx::query!(
        "update outbox set state = 'failed', error = 'opted_out', done_at = $2
         where tenant_id = $1 and state in ('queued', 'held', 'unknown') and class <> 'farewell'",
        tenant as TenantId,
        now,
    )
    .execute(db)
    .await
    .context("discard what a person would have been sent")?;
    Ok(discarded.rows_affected())
}

/// Whether something to a person may still go out.
pub async fn is_open(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from outbox
               where tenant_id = $1 and state in ('queued', 'sending', 'unknown')) as "open!""#,
        tenant as TenantId,
    )
    .fetch_one(db)
    .await
    .context("look whether a person is still to be sent something")
}

/// Deletes everything a person was or would have been sent. Whoever sends one of them just now finds
/// no row to note it in.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from outbox where tenant_id = $1",
        tenant as TenantId
    )
    .execute(db)
    .await
    .context("delete what a person was sent")?;
    Ok(deleted.rows_affected())
}

/// What was being sent when a backup was made counts as sent: at most one message is lost, none comes
/// twice.
pub async fn settle_half_sent(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let settled = sqlx::query!(
        "update outbox set state = 'accepted', error = 'restored', done_at = $1, worker_id = null
         where state in ('sending', 'unknown')",
        now,
    )
    .execute(db)
    .await
    .context("settle what a backup found half sent")?;
    Ok(settled.rows_affected())
}

/// What waited to be sent when a backup was made has been sent since, for all we know.
pub async fn settle_waiting(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let settled = sqlx::query!(
        "update outbox set state = 'failed', error = 'restored', done_at = $1
         where state in ('queued', 'held')",
        now,
    )
    .execute(db)
    .await
    .context("settle what a backup found waiting to be sent")?;
    Ok(settled.rows_affected())
}
