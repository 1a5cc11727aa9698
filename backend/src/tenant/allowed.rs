//! Table `allowed`: who is let in however a line takes new people. `clawkaka tenant allow` and `disallow`
//! write it; `worker/route` looks only for people who are not in yet.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::address::{Entry, Keys};
use crate::{
    id::{LineId, TenantId},
    seal::KEY_ID,
};

/// Somebody on the list.
pub struct Allowed {
    pub role: Option<String>,
}

/// Whether one of these addresses is on the list.
pub async fn find(
    db: impl PgExecutor<'_>,
    line: LineId,
    keys: &Keys,
) -> anyhow::Result<Option<Allowed>> {
    sqlx::query_as!(
        Allowed,
        "select role from allowed
         where line_id = $1 and (kind, value) in (select * from unnest($2::text[], $3::bytea[]))
         order by role nulls last limit 1",
        line as LineId,
        &keys.kinds,
        &keys.values,
    )
    .fetch_optional(db)
    .await
    .context("look whether somebody is on the list")
}

/// Puts an address on the list, or gives it another role there. True if it is new.
pub async fn put(
    db: impl PgExecutor<'_>,
    line: LineId,
    entry: Entry,
    role: Option<&str>,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    sqlx::query_scalar!(
        r#"insert into allowed (line_id, kind, value, address, key_id, role, created_at)
           values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (line_id, kind, value) do update set role = excluded.role
           returning created_at = $7 as "new!""#,
        line as LineId,
        entry.kind,
        entry.value,
        entry.address,
        KEY_ID,
        role,
        now,
    )
    .fetch_one(db)
    .await
    .context("put somebody on the list")
}

/// Takes an address off the list. False if it was not there.
pub async fn remove(db: impl PgExecutor<'_>, line: LineId, entry: &Entry) -> anyhow::Result<bool> {
    let removed = sqlx::query!(
        "delete from allowed where line_id = $1 and kind = $2 and value = $3",
        line as LineId,
        entry.kind,
        entry.value,
    )
    .execute(db)
    .await
    .context("take somebody off the list")?;
    Ok(removed.rows_affected() == 1)
}

pub struct Listed {
    pub line: LineId,
    pub phone_number_id: String,
    pub kind: String,
    /// Sealed.
    pub address: Vec<u8>,
    pub role: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Who they are, if they have written.
    pub tenant: Option<TenantId>,
}

pub async fn list(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select w.line_id as "line: LineId", l.phone_number_id, w.kind, w.address, w.role,
                  w.created_at, a.tenant_id as "tenant?: TenantId"
           from allowed w join line l on l.id = w.line_id
             left join tenant_address a on a.line_id = w.line_id and a.kind = w.kind
               and a.value = w.value and a.retired_at is null
           order by w.created_at, w.value"#
    )
    .fetch_all(db)
    .await
    .context("list who is let in")
}

/// Forgets the addresses of somebody who is erased; while these still say whose they are.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from allowed w using tenant_address a
         where a.tenant_id = $1 and a.line_id = w.line_id and a.kind = w.kind and a.value = w.value",
        tenant as TenantId,
    )
    .execute(db)
    .await
    .context("take an erased person off the list")?;
    Ok(deleted.rows_affected())
}
