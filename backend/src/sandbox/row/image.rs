//! Which image a sandbox runs, in the table: by its id, so that nothing changes under it when a name
//! moves on to another image.

use anyhow::Context;
use sqlx::PgExecutor;

use super::Intent;
use crate::id::SandboxId;

/// A sandbox's image as it is to be from now on, if it is still what it was.
#[derive(Clone, Debug)]
pub struct Pin {
    pub sandbox: SandboxId,
    pub old: Option<String>,
    pub new: String,
}

pub async fn pin(db: impl PgExecutor<'_>, pins: &[Pin]) -> anyhow::Result<()> {
    let ids: Vec<_> = pins.iter().map(|pin| pin.sandbox.0).collect();
    let olds: Vec<_> = pins.iter().map(|pin| pin.old.clone()).collect();
    let news: Vec<_> = pins.iter().map(|pin| pin.new.clone()).collect();
    sqlx::query!(
        "update sandbox set image = pin.new
         from unnest($1::uuid[], $2::text[], $3::text[]) pin (id, old, new)
         where sandbox.id = pin.id and sandbox.image is not distinct from pin.old",
        &ids,
        &olds as &[Option<String>],
        &news,
    )
    .execute(db)
    .await
    .context("write down which images sandboxes run")?;
    Ok(())
}

/// Those that were started once and of whose image nothing is known, so that a later one does not
/// change them.
pub async fn pin_sleeping(
    db: impl PgExecutor<'_>,
    awake: &[SandboxId],
    image: &str,
) -> anyhow::Result<u64> {
    let awake: Vec<_> = awake.iter().map(|id| id.0).collect();
    let done = sqlx::query!(
        "update sandbox set image = $1
         where image is null and spec_hash is not null and intent <> 'gone' and id <> all($2)",
        image,
        &awake,
    )
    .execute(db)
    .await
    .context("write down which images sandboxes run")?;
    Ok(done.rows_affected())
}

/// What an upgrade must know of a sandbox.
#[derive(Clone, Debug)]
pub struct Runs {
    pub slot: i32,
    pub session_no: i32,
    pub intent: Intent,
    pub image: Option<String>,
}

/// None: it is given up, or there is none.
pub async fn of(db: impl PgExecutor<'_>, id: SandboxId) -> anyhow::Result<Option<Runs>> {
    sqlx::query_as!(
        Runs,
        r#"select slot, session_no, intent as "intent: String", image
           from sandbox where id = $1 and intent <> 'gone'"#,
        id as SandboxId,
    )
    .fetch_optional(db)
    .await
    .context("look which image a sandbox runs")
}

/// It has been moved.
pub async fn moved(db: impl PgExecutor<'_>, id: SandboxId, image: &str) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set image = $2 where id = $1",
        id as SandboxId,
        image,
    )
    .execute(db)
    .await
    .context("note a sandbox's new image")?;
    Ok(())
}

/// Its files are those of before, as its image is. What the other image saw opens nothing any more,
/// and that it did not start is no failure of the sandbox. Its conversation goes on where it was
/// read: nobody has read what came after.
pub async fn moved_back(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    image: Option<&str>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set image = $2, epoch = epoch + 1, broker_token_hash = null,
                            failures = 0, retry_at = null
         where id = $1",
        id as SandboxId,
        image,
    )
    .execute(db)
    .await
    .context("note that a sandbox is as it was")?;
    Ok(())
}

/// How many people's sandboxes run another image than this.
pub async fn count_others(db: impl PgExecutor<'_>, image: &str) -> anyhow::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from sandbox
           where image <> $1 and intent = 'auto' and tenant_id is not null"#,
        image,
    )
    .fetch_one(db)
    .await
    .context("count sandboxes of another image")
}
