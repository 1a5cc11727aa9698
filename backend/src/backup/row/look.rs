//! What the table `backup` says: what was asked for and what became of it. Reads only.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{Kind, State};
use crate::id::{BackupId, SandboxId};

/// Something that was asked for, as it stands.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: BackupId,
    pub kind: Kind,
    pub state: State,
    pub outcome: Option<String>,
    pub sandbox: Option<SandboxId>,
    pub object: Option<String>,
    pub requested_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
    pub entries: i64,
    pub bytes: i64,
    pub stored_bytes: i64,
}

pub async fn asked(db: impl PgExecutor<'_>, id: BackupId) -> anyhow::Result<Option<Asked>> {
    sqlx::query_as!(
        Asked,
        r#"select id as "id: BackupId", kind as "kind: Kind", state as "state: State", outcome,
                  sandbox_id as "sandbox: SandboxId", object, requested_at, started_at, done_at,
                  entries, bytes, stored_bytes
           from backup where id = $1"#,
        id as BackupId,
    )
    .fetch_optional(db)
    .await
    .context("look what became of a backup")
}

/// What has become of the parts of a backup of everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    pub all: i64,
    pub over: i64,
    pub failed: i64,
    pub entries: i64,
    pub bytes: i64,
    pub stored_bytes: i64,
}

pub async fn parts(db: impl PgExecutor<'_>, id: BackupId) -> anyhow::Result<Parts> {
    sqlx::query_as!(
        Parts,
        r#"select count(*) as "all!",
                  count(*) filter (where state in ('done', 'failed')) as "over!",
                  count(*) filter (where state = 'failed') as "failed!",
                  coalesce(sum(entries), 0)::bigint as "entries!",
                  coalesce(sum(bytes), 0)::bigint as "bytes!",
                  coalesce(sum(stored_bytes), 0)::bigint as "stored_bytes!"
           from backup where parent_id = $1"#,
        id as BackupId,
    )
    .fetch_one(db)
    .await
    .context("add up the parts of a backup")
}

/// When everything was asked for last, and how that ended.
pub async fn last_all(db: impl PgExecutor<'_>) -> anyhow::Result<Option<(DateTime<Utc>, State)>> {
    let last = sqlx::query!(
        r#"select requested_at, state as "state: State" from backup
           where kind = 'all' order by requested_at desc limit 1"#
    )
    .fetch_optional(db)
    .await
    .context("look for the last backup")?;
    Ok(last.map(|last| (last.requested_at, last.state)))
}

/// The last backup of everything that is whole.
pub struct Good {
    pub requested_at: DateTime<Utc>,
    pub stored_bytes: i64,
}

pub async fn last_good(db: impl PgExecutor<'_>) -> anyhow::Result<Option<Good>> {
    sqlx::query_as!(
        Good,
        r#"select requested_at, stored_bytes from backup
           where kind = 'all' and state = 'done' order by requested_at desc limit 1"#
    )
    .fetch_optional(db)
    .await
    .context("look for the last good backup")
}

/// When everything was asked for for the first time.
pub async fn first_all(db: impl PgExecutor<'_>) -> anyhow::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("select min(requested_at) from backup where kind = 'all'")
        .fetch_one(db)
        .await
        .context("look for the first backup")
}
