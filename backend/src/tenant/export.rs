//! People who want to have what we hold of them.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::TenantId;

/// Somebody to whom it has not been sent yet.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub tenant: TenantId,
    /// When we give it up. The same at every attempt.
    pub by: DateTime<Utc>,
}

/// They said that they want it; until then they may confirm it.
pub async fn ask(
    db: impl PgExecutor<'_>,
    id: TenantId,
    until: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set export_asked_until = $2 where id = $1",
        id as TenantId,
        until,
    )
    .execute(db)
    .await
    .context("note that a person is asked to confirm an export")?;
    Ok(())
}

/// They confirmed it.
pub async fn want(
    db: impl PgExecutor<'_>,
    id: TenantId,
    by: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set export_asked_until = null, export_due = $3, export_by = $2
         where id = $1 and status in ('active', 'undecided')",
        id as TenantId,
        by,
        now,
    )
    .execute(db)
    .await
    .context("note that a person wants an export")?;
    Ok(())
}

/// The one that is due for the longest. Who has left, or is shut out, gets nothing.
pub async fn next(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<Option<Wish>> {
    sqlx::query_as!(
        Wish,
        r#"select id as "tenant: TenantId", export_by as "by!" from tenant
           where export_due <= $1 and status in ('active', 'undecided') order by export_due limit 1"#,
        now,
    )
    .fetch_optional(db)
    .await
    .context("look who wants an export")
}

pub async fn put_off(
    db: impl PgExecutor<'_>,
    id: TenantId,
    until: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set export_due = $2 where id = $1 and export_due is not null",
        id as TenantId,
        until,
    )
    .execute(db)
    .await
    .context("put an export off")?;
    Ok(())
}

/// It was queued, or given up. False when somebody else has done so.
pub async fn end(db: impl PgExecutor<'_>, wish: Wish) -> anyhow::Result<bool> {
    let ended = sqlx::query!(
        "update tenant set export_due = null, export_by = null where id = $1 and export_by = $2",
        wish.tenant as TenantId,
        wish.by,
    )
    .execute(db)
    .await
    .context("end an export")?;
    Ok(ended.rows_affected() == 1)
}
