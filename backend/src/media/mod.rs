//! Table `media`: how much somebody sent in the last day, file by file. The files themselves are in
//! their sandbox, and go with it.

pub mod upload;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::{id::TenantId, seal::KEY_ID};

/// What the limit counts over, and so how long a row is kept.
pub const KEPT: TimeDelta = TimeDelta::days(1);

/// The same file again changes nothing.
pub async fn brought(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    digest: &[u8; 32],
    bytes: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into media (tenant_id, digest, bytes, brought_at) values ($1, $2, $3, $4)
         on conflict do nothing",
        tenant as TenantId,
        digest,
        bytes,
        now,
    )
    .execute(db)
    .await
    .context("count a file")?;
    Ok(())
}

pub async fn bytes_lately(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<i64> {
    sqlx::query_scalar!(
        r#"select coalesce(sum(bytes), 0)::bigint as "bytes!" from media
           where tenant_id = $1 and brought_at > $2"#,
        tenant as TenantId,
        now - KEPT,
    )
    .fetch_one(db)
    .await
    .context("count somebody's files")
}

/// What is said in a file that was heard before, sealed.
pub async fn words(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    digest: &[u8; 32],
) -> anyhow::Result<Option<Vec<u8>>> {
    let words = sqlx::query_scalar!(
        "select words from media where tenant_id = $1 and digest = $2",
        tenant as TenantId,
        digest,
    );
    let words = words.fetch_optional(db).await;
    Ok(words.context("look for what was heard")?.flatten())
}

pub async fn heard(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    digest: &[u8; 32],
    sealed: &[u8],
) -> anyhow::Result<()> {
    sqlx::query!(
        "update media set words = $3, key_id = $4 where tenant_id = $1 and digest = $2",
        tenant as TenantId,
        digest,
        sealed,
        KEY_ID,
    )
    .execute(db)
    .await
    .context("keep what was heard")?;
    Ok(())
}

pub async fn forget(
    db: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from media where (tenant_id, digest) in
             (select tenant_id, digest from media where brought_at < $1 limit $2)",
        before,
        limit,
    )
    .execute(db)
    .await
    .context("forget files")?;
    Ok(deleted.rows_affected())
}

pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!("delete from media where tenant_id = $1", tenant as TenantId)
        .execute(db)
        .await
        .context("erase somebody's files")?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::{
        line,
        tenant::{self, Status},
        whatsapp::provider::Provider,
    };

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn a_file_counts_once_for_a_day_and_for_one_person(db: PgPool) {
        let noon = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let line = line::seed(&db, Provider::Meta, "1").await.unwrap();
        let mut people = Vec::new();
        for _ in 0..2 {
            let made = tenant::create(&db, line, Status::Active, chrono_tz::UTC, noon).await;
            people.push(made.unwrap().id);
        }
        let [anna, ben] = people[..] else {
            panic!("two people")
        };
        for (digest, bytes) in [([1; 32], 100), ([1; 32], 100), ([2; 32], 30)] {
            brought(&db, anna, &digest, bytes, noon).await.unwrap();
        }
        assert_eq!(bytes_lately(&db, anna, noon).await.unwrap(), 130);
        assert_eq!(bytes_lately(&db, ben, noon).await.unwrap(), 0);
        let tomorrow = noon + KEPT;
        assert_eq!(bytes_lately(&db, anna, tomorrow).await.unwrap(), 0);
        assert_eq!(forget(&db, tomorrow - KEPT, 9).await.unwrap(), 0);
        let later = tomorrow + TimeDelta::seconds(1);
        assert_eq!(forget(&db, later - KEPT, 9).await.unwrap(), 2);
    }
}
