//! Table `unserved_group`: groups that write to a number which serves them not, so that an operator can find
//! the one that is to be served. That somebody wrote there, and nothing else of it.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::{
    id::{LineId, TenantId},
    seal::KEY_ID,
    tenant::address::Entry,
};

pub async fn note(
    db: impl PgExecutor<'_>,
    line: LineId,
    group: &Entry,
    at: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into unserved_group as g (line_id, value, address, key_id, last_at)
         values ($1, $2, $3, $4, $5)
         on conflict (line_id, value) do update
         set address = excluded.address, key_id = excluded.key_id,
             last_at = greatest(g.last_at, excluded.last_at)",
        line as LineId,
        group.value,
        group.address,
        KEY_ID,
        at,
    )
    .execute(db)
    .await
    .context("note a group that is not served")?;
    Ok(())
}

pub struct Listed {
    /// Sealed.
    pub address: Vec<u8>,
    pub last_at: DateTime<Utc>,
}

/// Of one number, who wrote last first.
pub async fn list(db: impl PgExecutor<'_>, line: LineId) -> anyhow::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        "select address, last_at from unserved_group where line_id = $1 order by last_at desc, value",
        line as LineId,
    )
    .fetch_all(db)
    .await
    .context("list groups that are not served")
}

/// Some that have been silent since then. How many.
pub async fn forget(
    db: impl PgExecutor<'_>,
    silent_since: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from unserved_group where (line_id, value) in (
             select line_id, value from unserved_group where last_at < $1
             order by last_at limit $2)",
        silent_since,
        limit,
    )
    .execute(db)
    .await
    .context("forget groups that are not served")?;
    Ok(deleted.rows_affected())
}

/// Forgets a group that is erased; while its address still says whose it is.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from unserved_group g using tenant_address a
         where a.tenant_id = $1 and a.kind = 'group' and a.line_id = g.line_id and a.value = g.value",
        tenant as TenantId,
    )
    .execute(db)
    .await
    .context("forget an erased group")?;
    Ok(deleted.rows_affected())
}
