//! Table `blocked`: addresses from which nothing is taken. `clawkaka block` writes it, `worker/route` looks
//! before anything else. WhatsApp keeps a list of its own, which stops messages before they reach us; ours is
//! brought to it by command.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::address::{Entry, Keys};
use crate::{
    id::{LineId, TenantId},
    seal::KEY_ID,
};

/// Whether nothing is to be taken from one of these addresses.
pub async fn is_blocked(
    db: impl PgExecutor<'_>,
    line: LineId,
    keys: &Keys,
) -> anyhow::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from blocked
               where line_id = $1 and lifted_at is null
                 and (kind, value) in (select * from unnest($2::text[], $3::bytea[]))) as "is!""#,
        line as LineId,
        &keys.kinds,
        &keys.values,
    )
    .fetch_one(db)
    .await
    .context("look whether somebody is blocked")
}

/// What an operator wants of a block.
pub struct Wanted<'a> {
    pub line: LineId,
    /// Of one person, as far as we know.
    pub entries: &'a [Entry],
    pub actor: &'a str,
    pub reason: Option<&'a str>,
}

/// Blocks the addresses of a person. How many of them were not blocked.
pub async fn put(
    db: &mut PgConnection,
    wanted: &Wanted<'_>,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let person = Uuid::now_v7();
    let mut new = 0;
    for entry in wanted.entries {
        let put = sqlx::query!(
            "insert into blocked as b
                 (line_id, kind, value, address, key_id, person, reason, actor, blocked_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (line_id, kind, value) do update
             set lifted_at = null, address = excluded.address, key_id = excluded.key_id,
                 person = excluded.person, reason = excluded.reason, actor = excluded.actor,
                 blocked_at = excluded.blocked_at
             where b.lifted_at is not null",
            wanted.line as LineId,
            entry.kind,
            entry.value,
            entry.address,
            KEY_ID,
            person,
            wanted.reason,
            wanted.actor,
            now,
        )
        .execute(&mut *db)
        .await
        .context("block an address")?;
        new += put.rows_affected();
    }
    Ok(new)
}

/// From now on messages of whoever has these addresses are taken again; the rows stay until they are off
/// WhatsApp's list, too. How many were blocked.
pub async fn lift(
    db: &mut PgConnection,
    line: LineId,
    entries: &[Entry],
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut lifted = 0;
    for entry in entries {
        let all = sqlx::query!(
            "update blocked set lifted_at = $4
             where line_id = $1 and lifted_at is null and person in (
                 select person from blocked where line_id = $1 and kind = $2 and value = $3)",
            line as LineId,
            entry.kind,
            entry.value,
            now,
        )
        .execute(&mut *db)
        .await
        .context("lift a block")?;
        lifted += all.rows_affected();
    }
    Ok(lifted)
}

pub struct Listed {
    pub line: LineId,
    pub phone_number_id: String,
    pub kind: String,
    pub value: Vec<u8>,
    /// Sealed.
    pub address: Option<Vec<u8>>,
    pub reason: Option<String>,
    pub actor: String,
    pub blocked_at: DateTime<Utc>,
    pub synced_at: Option<DateTime<Utc>>,
    pub lifted_at: Option<DateTime<Utc>>,
    /// Who they are, if they have written.
    pub tenant: Option<TenantId>,
}

pub async fn list(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select b.line_id as "line: LineId", l.phone_number_id, b.kind, b.value, b.address,
                  b.reason, b.actor, b.blocked_at, b.synced_at, b.lifted_at,
                  a.tenant_id as "tenant?: TenantId"
           from blocked b join line l on l.id = b.line_id
             left join tenant_address a on a.line_id = b.line_id and a.kind = b.kind
               and a.value = b.value and a.retired_at is null
           order by b.blocked_at, b.kind, b.value"#
    )
    .fetch_all(db)
    .await
    .context("list who is blocked")
}

/// WhatsApp has it on its list.
pub async fn synced(
    db: impl PgExecutor<'_>,
    one: &Listed,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update blocked set synced_at = $4 where line_id = $1 and kind = $2 and value = $3",
        one.line as LineId,
        one.kind,
        one.value,
        now,
    )
    .execute(db)
    .await
    .context("note that WhatsApp blocks an address")?;
    Ok(())
}

/// Nothing is left to do about a block that was lifted.
pub async fn forget(db: impl PgExecutor<'_>, one: &Listed) -> anyhow::Result<()> {
    sqlx::query!(
        "delete from blocked
         where line_id = $1 and kind = $2 and value = $3 and lifted_at is not null",
        one.line as LineId,
        one.kind,
        one.value,
    )
    .execute(db)
    .await
    .context("forget a block")?;
    Ok(())
}

/// Forgets what somebody's addresses were who is erased, while these still say whose they are. They stay
/// blocked by their hashes.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let emptied = sqlx::query!(
        "update blocked b set address = null from tenant_address a
         where a.tenant_id = $1 and a.line_id = b.line_id and a.kind = b.kind and a.value = b.value",
        tenant as TenantId,
    )
    .execute(db)
    .await
    .context("forget the addresses of somebody blocked")?;
    Ok(emptied.rows_affected())
}
