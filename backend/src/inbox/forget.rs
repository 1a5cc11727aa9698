//! Rows that have served their time. Called by `worker/sweep`; open rows are never touched.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// Clears the bodies of some rows that were done before then. How many.
pub async fn clear_bodies(
    db: impl PgExecutor<'_>,
    done_before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let cleared = sqlx::query!(
        "update inbox set body = null where id = any(array(
             select id from inbox
             where done_at is not null and body is not null and done_at < $1
             order by done_at limit $2 for update skip locked))",
        done_before,
        limit,
    )
    .execute(db)
    .await
    .context("clear old bodies of the inbox")?;
    Ok(cleared.rows_affected())
}

/// Clears some bodies of people who are erased, however young, once nothing is open about them.
pub async fn clear_erased(db: impl PgExecutor<'_>, limit: i64) -> anyhow::Result<u64> {
    let cleared = sqlx::query!(
        "update inbox set body = null where id = any(array(
             select i.id from tenant t join inbox i on i.tenant_id = t.id
             where t.status = 'erased' and i.done_at is not null and i.body is not null
             limit $1 for update of i skip locked))",
        limit,
    )
    .execute(db)
    .await
    .context("clear what erased people wrote")?;
    Ok(cleared.rows_affected())
}

/// Deletes some rows that were done before then, and with them the proof that a repeat is one.
pub async fn forget(
    db: impl PgExecutor<'_>,
    done_before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from inbox where id = any(array(
             select id from inbox where done_at is not null and done_at < $1
             order by done_at limit $2 for update skip locked))",
        done_before,
        limit,
    )
    .execute(db)
    .await
    .context("delete old rows of the inbox")?;
    Ok(deleted.rows_affected())
}
