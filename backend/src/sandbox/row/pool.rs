//! The sandboxes that nobody owns, in the table.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::{SandboxId, TenantId};

/// Gives a person the member that has waited longest, if there is one.
pub async fn claim(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<Option<SandboxId>> {
    // Somebody who came at the same moment takes the next one.
    sqlx::query_scalar!(
        r#"update sandbox set tenant_id = $1
           where id = (select id from sandbox
                       where tenant_id is null and intent = 'auto' and booted_at is not null
                       order by created_at limit 1 for update skip locked)
           returning id as "id: SandboxId""#,
        tenant.0
    )
    .fetch_optional(db)
    .await
    .context("claim a sandbox from the pool")
}

/// Its gateway has let us in: it may be given away.
pub async fn met(db: impl PgExecutor<'_>, id: SandboxId, now: DateTime<Utc>) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set booted_at = coalesce(booted_at, $2) where id = $1",
        id.0,
        now
    )
    .execute(db)
    .await
    .context("note that a sandbox has booted")?;
    Ok(())
}

/// Gives these up, unless somebody owns them by now.
pub async fn give_up(db: impl PgExecutor<'_>, ids: &[SandboxId]) -> anyhow::Result<()> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    sqlx::query!(
        "update sandbox set intent = 'gone', broker_token_hash = null
         where id in (select id from sandbox where id = any($1) and tenant_id is null and intent = 'auto'
                      for update skip locked)",
        &ids,
    )
    .execute(db)
    .await
    .context("make the pool anew")?;
    Ok(())
}

/// Gives members up, the newest first.
pub async fn give_up_newest(db: impl PgExecutor<'_>, count: usize) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set intent = 'gone', broker_token_hash = null
         where id in (select id from sandbox where tenant_id is null and intent = 'auto'
                      order by created_at desc limit $1 for update skip locked)",
        count as i64
    )
    .execute(db)
    .await
    .context("make the pool smaller")?;
    Ok(())
}
