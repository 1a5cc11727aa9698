//! Rows whose person is erased, or that a restored backup found open.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::TenantId;

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
