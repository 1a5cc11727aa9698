//! Table `tombstone`, and its copies beside the backups: who was erased.
//!
//! A backup of before an erasure still has the person. When it is restored, the copies in the store
//! say so, for they outlive the database. They hold keyed hashes only, are sealed, and are named by
//! a keyed hash: whoever holds the store learns how many there are. Somebody who came after the
//! erasure is somebody new, also under the same number.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::{
    erase::{self, Erased},
    pipe,
    seal::BackupKey,
    store::{ERASED, Store},
};
use crate::{
    id::TenantId,
    tenant::{self, address},
};

/// More than any person has addresses.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub tenant: uuid::Uuid,
    /// Hex.
    pub addresses: Vec<String>,
    pub erased_at: DateTime<Utc>,
}

/// Sets one; a person who is erased again keeps the first time and all addresses.
pub async fn set(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    addresses: &[Vec<u8>],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into tombstone (tenant_id, addresses, erased_at) values ($1, $2, $3)
         on conflict (tenant_id) do update
         set addresses = case when cardinality(excluded.addresses) = 0 then tombstone.addresses
                              else excluded.addresses end,
             stored_at = case when cardinality(excluded.addresses) = 0 then tombstone.stored_at end",
        tenant as TenantId,
        addresses,
        now,
    )
    .execute(db)
    .await
    .context("set a tombstone")?;
    Ok(())
}

/// How many are in no store yet.
pub async fn unstored(db: impl PgExecutor<'_>) -> anyhow::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from tombstone where stored_at is null"#)
        .fetch_one(db)
        .await
        .context("count tombstones")
}

/// Writes those to the store that are not there yet.
pub async fn store_all(
    db: &PgPool,
    store: &Store,
    key: &BackupKey,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let waiting = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", addresses, erased_at from tombstone
           where stored_at is null order by erased_at"#
    )
    .fetch_all(db)
    .await
    .context("list tombstones")?;
    for row in waiting {
        let stone = Tombstone {
            tenant: row.tenant.0,
            addresses: row.addresses.iter().map(hex::encode).collect(),
            erased_at: row.erased_at,
        };
        write(store, key, &stone)
            .await
            .context("store a tombstone")?;
        sqlx::query!(
            "update tombstone set stored_at = $2 where tenant_id = $1 and addresses = $3",
            row.tenant as TenantId,
            now,
            &row.addresses,
        )
        .execute(db)
        .await
        .context("note a stored tombstone")?;
    }
    Ok(())
}

async fn write(store: &Store, key: &BackupKey, stone: &Tombstone) -> anyhow::Result<()> {
    let name = format!("{ERASED}/{}", key.hide(stone.tenant.as_bytes()));
    let text = serde_json::to_vec(stone)?;
    let written = pipe::write(store, key, &name, move |mut out| {
        std::io::Write::write_all(&mut out, &text)?;
        Ok((out, ()))
    });
    written.await?.keep().await
}

/// All that are in the store.
pub async fn stored(store: &Store, key: &BackupKey) -> anyhow::Result<Vec<Tombstone>> {
    let mut stones = Vec::new();
    for name in store.names(ERASED).await? {
        let stone = pipe::read(store, key, &name, |from| {
            let limited = std::io::Read::take(from, MAX_BYTES);
            Ok(serde_json::from_reader::<_, Tombstone>(limited)?)
        });
        stones.push(stone.await.with_context(|| format!("read {name}"))?);
    }
    Ok(stones)
}

/// Erases those again whom a restored backup brought back. How many.
pub async fn apply(
    conn: &mut PgConnection,
    stones: &[Tombstone],
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut again = 0;
    for stone in stones {
        let hashes: Result<Vec<_>, _> = stone.addresses.iter().map(hex::decode).collect();
        let hashes = hashes.context("read a tombstone")?;
        let mut found = address::owners_before(&mut *conn, &hashes, stone.erased_at).await?;
        let id = TenantId(stone.tenant);
        if tenant::find(&mut *conn, id).await?.is_some() && !found.contains(&id) {
            found.push(id);
        }
        for tenant in found {
            let Erased { is_new, .. } = erase::erase(&mut *conn, tenant, None, now).await?;
            again += u64::from(is_new);
        }
    }
    Ok(again)
}
