//! The table `sandbox`, as far as backups go: what has changed since, and what was put back.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::id::SandboxId;

/// An agent goes on for a while after its last turn: it sorts its memory, and then it is put to sleep.
const GOES_ON_FOR: TimeDelta = TimeDelta::hours(1);

/// What a snapshot of a sandbox notes of it.
pub struct Saved {
    pub slot: i32,
    pub session_no: i32,
}

pub async fn of(db: impl PgExecutor<'_>, id: SandboxId) -> anyhow::Result<Option<Saved>> {
    sqlx::query_as!(
        Saved,
        "select slot, session_no from sandbox where id = $1 and intent <> 'gone'",
        id as SandboxId,
    )
    .fetch_optional(db)
    .await
    .context("look a sandbox up for a backup")
}

/// The sandboxes whose files may differ from their last snapshot: never taken, or awake since. Those
/// nobody ever talked to have nothing worth keeping.
pub async fn changed(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<SandboxId>> {
    sqlx::query_scalar!(
        r#"select s.id as "id: SandboxId" from sandbox s
           where s.intent <> 'gone' and exists (
               select from turn t where t.sandbox_id = s.id
               and (s.snapshot_at is null or t.done_at is null or t.done_at > s.snapshot_at - $1::interval))
           order by s.snapshot_at nulls first, s.id"#,
        sqlx::postgres::types::PgInterval::try_from(GOES_ON_FOR)
            .ok()
            .context("write an hour")?,
    )
    .fetch_all(db)
    .await
    .context("look which sandboxes changed")
}

/// Its files are in the store, as they were then.
pub async fn taken(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    at: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set snapshot_at = greatest(snapshot_at, $2) where id = $1",
        id as SandboxId,
        at,
    )
    .execute(db)
    .await
    .context("note a snapshot")?;
    Ok(())
}

/// Its files are another time's: tokens of before are worthless, its conversation goes on where they
/// have it, and nothing that is in it is sent.
pub async fn put_back(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    session_no: i32,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set epoch = epoch + 1, session_no = $2, cursor = null, restored = true, told = null,
                            broker_token_hash = null, failures = 0, retry_at = null
         where id = $1",
        id as SandboxId,
        session_no,
    )
    .execute(db)
    .await
    .context("note restored files")?;
    Ok(())
}

/// The tables are another time's: whatever conversation is found in a sandbox is old, also in one that
/// still runs.
pub async fn all_are_old(db: impl PgExecutor<'_>) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set restored = true, cursor = null, told = null, broker_token_hash = null
         where intent <> 'gone'"
    )
    .execute(db)
    .await
    .context("note restored sandboxes")?;
    Ok(())
}

/// Whether what its conversation holds is old and has not been read past yet.
pub async fn is_restored(db: impl PgExecutor<'_>, id: SandboxId) -> anyhow::Result<bool> {
    let restored = sqlx::query_scalar!(
        "select restored from sandbox where id = $1",
        id as SandboxId
    );
    let restored = restored.fetch_optional(db).await;
    Ok(restored.context("look a sandbox up")?.unwrap_or_default())
}

/// Its conversation was read to its end, and goes on from there.
pub async fn read_past(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    session_no: i32,
    cursor: Option<&str>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set restored = false, cursor = $3
         where id = $1 and session_no = $2 and restored",
        id as SandboxId,
        session_no,
        cursor,
    )
    .execute(db)
    .await
    .context("begin behind a restored conversation")?;
    Ok(())
}

/// All that have, or had, files of their own.
pub async fn all(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<SandboxId>> {
    sqlx::query_scalar!(
        r#"select id as "id: SandboxId" from sandbox where intent <> 'gone' order by id"#
    )
    .fetch_all(db)
    .await
    .context("list sandboxes")
}
