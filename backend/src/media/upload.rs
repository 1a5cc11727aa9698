//! Table `upload`: files that agents sent to their people and WhatsApp still has.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::id::TenantId;

/// WhatsApp keeps them for 30 days (Meta docs: media); a message that was held for somebody goes up to
/// eight days after it was written.
const USABLE_FOR: TimeDelta = TimeDelta::days(20);

/// What WhatsApp calls a file that it was given before.
pub async fn find(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    digest: &[u8; 32],
    now: DateTime<Utc>,
) -> anyhow::Result<Option<String>> {
    sqlx::query_scalar!(
        "select provider_id from upload
         where tenant_id = $1 and digest = $2 and usable_until > $3",
        tenant as TenantId,
        digest,
        now,
    )
    .fetch_optional(db)
    .await
    .context("look for a file that was sent before")
}

pub async fn keep(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    digest: &[u8; 32],
    provider_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into upload (tenant_id, digest, provider_id, usable_until) values ($1, $2, $3, $4)
         on conflict (tenant_id, digest)
         do update set provider_id = excluded.provider_id, usable_until = excluded.usable_until",
        tenant as TenantId,
        digest,
        provider_id,
        now + USABLE_FOR,
    )
    .execute(db)
    .await
    .context("note a file that WhatsApp has")?;
    Ok(())
}

pub async fn forget(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from upload where (tenant_id, digest) in
             (select tenant_id, digest from upload where usable_until < $1 limit $2)",
        now,
        limit,
    )
    .execute(db)
    .await
    .context("forget files that WhatsApp had")?;
    Ok(deleted.rows_affected())
}

pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from upload where tenant_id = $1",
        tenant as TenantId
    )
    .execute(db)
    .await
    .context("erase the files that somebody was sent")?;
    Ok(deleted.rows_affected())
}
