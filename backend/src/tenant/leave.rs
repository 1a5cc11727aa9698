//! People who leave: for as long as they like, or for good.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::TenantId;

/// They want to hear nothing more.
pub async fn opt_out(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set status = 'opted_out', asked_until = null,
             export_asked_until = null, export_due = null, export_by = null
         where id = $1 and status in ('active', 'undecided')",
        id as TenantId,
    )
    .execute(db)
    .await
    .context("note that a person opted out")?;
    Ok(())
}

/// They want to hear from us again; who had not agreed yet has still to. Not so somebody who is about to be erased.
pub async fn opt_in(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set status = case when consent in ('asked', 'declined') then 'undecided' else 'active' end
         where id = $1 and status = 'opted_out' and leaves_by is null",
        id as TenantId,
    )
    .execute(db)
    .await
    .context("note that a person opted in")?;
    Ok(())
}

/// They want all of theirs deleted; until then they may confirm it.
pub async fn ask(
    db: impl PgExecutor<'_>,
    id: TenantId,
    until: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set asked_until = $2 where id = $1",
        id as TenantId,
        until,
    )
    .execute(db)
    .await
    .context("note that a person is asked to confirm")?;
    Ok(())
}

/// They confirmed it: they hear our last message and nothing more, and are erased by then.
pub async fn leave(db: impl PgExecutor<'_>, id: TenantId, by: DateTime<Utc>) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set status = 'opted_out', asked_until = null, leaves_by = $2,
             export_asked_until = null, export_due = null, export_by = null
         where id = $1 and status in ('active', 'undecided')",
        id as TenantId,
        by,
    )
    .execute(db)
    .await
    .context("note that a person leaves for good")?;
    Ok(())
}

/// Somebody who leaves for good.
#[derive(Clone, Copy, Debug)]
pub struct Leaver {
    pub id: TenantId,
    /// When they are gone, whatever became of our last message.
    pub by: DateTime<Utc>,
}

pub async fn leavers(db: impl PgExecutor<'_>, limit: i64) -> anyhow::Result<Vec<Leaver>> {
    sqlx::query_as!(
        Leaver,
        r#"select id as "id: TenantId", leaves_by as "by!" from tenant
           where leaves_by is not null order by leaves_by limit $1"#,
        limit,
    )
    .fetch_all(db)
    .await
    .context("list those who leave for good")
}
