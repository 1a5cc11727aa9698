//! Whether people agree to speak with us, where their line asks them first.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::{id::TenantId, seal::KEY_ID};

/// They are asked. Without a role they have the default, should they agree.
pub async fn ask(
    db: impl PgExecutor<'_>,
    id: TenantId,
    role: Option<&str>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set status = 'undecided', consent = 'asked', consent_at = $2,
                           role = coalesce($3, role), told_at = $2
         where id = $1 and status in ('refused', 'undecided')",
        id as TenantId,
        now,
        role,
    )
    .execute(db)
    .await
    .context("note that a person is asked whether they agree")?;
    Ok(())
}

/// They agree, and are let in. The name is what they call themselves, sealed.
pub async fn give(
    db: impl PgExecutor<'_>,
    id: TenantId,
    name: Option<Vec<u8>>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set status = 'active', consent = 'given', consent_at = $2,
                           name = coalesce($3, name), key_id = $4
         where id = $1 and status = 'undecided'",
        id as TenantId,
        now,
        name,
        KEY_ID,
    )
    .execute(db)
    .await
    .context("note that a person agrees")?;
    Ok(())
}

pub async fn decline(
    db: impl PgExecutor<'_>,
    id: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set consent = 'declined', consent_at = $2
         where id = $1 and status = 'undecided'",
        id as TenantId,
        now,
    )
    .execute(db)
    .await
    .context("note that a person does not agree")?;
    Ok(())
}
