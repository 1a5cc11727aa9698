//! Rows that have served their time. Called by `worker/sweep`; open rows are never touched.
//!
//! A key must outlive its body: after a reset of the cursor the tail of a transcript is read again,
//! however old it is, and only the keys say what was sent ([`super::known`]). So a person
//! keeps the keys of their latest [`KEYS_KEPT`] messages for as long as their sandbox lives.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::{gateway::protocol::TAIL_ROWS, id::TenantId};

/// A tail has at most [`TAIL_ROWS`] messages, and one of the length we take (16 KiB) is sent in four
/// or five parts; our own sentences and what was sent late lie in between, hence twice as many.
const KEYS_KEPT: i64 = 2 * 5 * TAIL_ROWS as i64;

/// Clears the bodies of some rows that were done before then. How many.
pub async fn clear_bodies(
    db: impl PgExecutor<'_>,
    done_before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let cleared = sqlx::query!(
        "update outbox set body = null where id = any(array(
             select id from outbox
             where done_at is not null and body is not null and done_at < $1
               and state in ('accepted', 'failed')
             order by done_at limit $2 for update skip locked))",
        done_before,
        limit,
    )
    .execute(db)
    .await
    .context("clear old bodies of the outbox")?;
    Ok(cleared.rows_affected())
}

/// Clears some bodies of people who are erased, however young, once they are done.
pub async fn clear_erased(db: impl PgExecutor<'_>, limit: i64) -> anyhow::Result<u64> {
    let cleared = sqlx::query!(
        "update outbox set body = null where id = any(array(
             select o.id from tenant t join outbox o on o.tenant_id = t.id
             where t.status = 'erased' and o.done_at is not null and o.body is not null
               and o.state in ('accepted', 'failed')
             limit $1 for update of o skip locked))",
        limit,
    )
    .execute(db)
    .await
    .context("clear what erased people were sent")?;
    Ok(cleared.rows_affected())
}

/// The next person with messages, in the order of their ids.
pub async fn person_after(
    db: impl PgExecutor<'_>,
    after: Option<TenantId>,
) -> anyhow::Result<Option<TenantId>> {
    sqlx::query_scalar!(
        r#"select tenant_id as "tenant: TenantId" from outbox
           where $1::uuid is null or tenant_id > $1 order by tenant_id limit 1"#,
        after as Option<TenantId>,
    )
    .fetch_optional(db)
    .await
    .context("find the next person with messages")
}

/// Deletes some of a person's rows that were done before then and whose keys can never be met
/// again: older than their sandbox, or behind the latest [`KEYS_KEPT`], or the person is erased.
pub async fn forget(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    done_before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from outbox where id = any(array(
             select o.id from outbox o
             join tenant t on t.id = o.tenant_id
             left join sandbox s on s.tenant_id = o.tenant_id
             where o.tenant_id = $1 and o.done_at is not null and o.done_at < $2
               and o.state in ('accepted', 'failed')
               and (t.status = 'erased' or s.id is null or o.created_at < s.created_at
                    or (o.key <> 'first-contact' and coalesce(o.sent_at, o.created_at) < (
                        select k.sent_at from outbox k where k.tenant_id = $1 and k.sent_at is not null
                        order by k.sent_at desc offset $3 limit 1)))
             limit $4 for update of o skip locked))",
        tenant as TenantId,
        done_before,
        KEYS_KEPT - 1,
        limit,
    )
    .execute(db)
    .await
    .context("delete old messages")?;
    Ok(deleted.rows_affected())
}
