//! Table `backup`: what is to be done about backups, and what became of it.
//!
//! Commands and the schedule ask, the worker's station does: any process may end at any line, and a
//! row that nobody with a lease works on is taken up again. What concerns one sandbox is done in the
//! order in which it was asked for.

pub mod look;

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::id::{BackupId, SandboxId, WorkerId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Kind {
    /// Every sandbox that changed, and then the tables.
    All,
    /// One sandbox.
    Sandbox,
    /// A snapshot back into its sandbox.
    Restore,
    /// The snapshots of somebody erased.
    Erase,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Sandbox => "sandbox",
            Self::Restore => "restore",
            Self::Erase => "erase",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    Waiting,
    Running,
    Done,
    Failed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub kind: Kind,
    pub parent: Option<BackupId>,
    pub sandbox: Option<SandboxId>,
    /// Which snapshot is to be restored; the newest that is whole unless said.
    pub object: Option<String>,
    pub actor: Option<String>,
}

/// What this worker has taken up.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: BackupId,
    pub kind: Kind,
    pub parent: Option<BackupId>,
    pub sandbox: Option<SandboxId>,
    pub object: Option<String>,
    pub outcome: Option<String>,
    pub actor: Option<String>,
    pub attempts: i32,
    pub requested_at: DateTime<Utc>,
}

pub async fn ask(
    db: impl PgExecutor<'_>,
    wish: &Wish,
    now: DateTime<Utc>,
) -> anyhow::Result<BackupId> {
    let id = BackupId::new();
    sqlx::query!(
        "insert into backup (id, kind, parent_id, sandbox_id, object, actor, run_after, requested_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
        id as BackupId,
        wish.kind as Kind,
        wish.parent as Option<BackupId>,
        wish.sandbox as Option<SandboxId>,
        wish.object,
        wish.actor,
        now,
    )
    .execute(db)
    .await
    .context("ask for a backup")?;
    Ok(id)
}

/// For the rest of a transaction, so that two who ask at once ask for the same.
pub async fn lock(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('backup'))")
        .execute(conn)
        .await
        .context("ask for a backup")?;
    Ok(())
}

/// What a backup found under way is not this deployment's, but for what was to be erased.
pub async fn settle_restored(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<()> {
    sqlx::query!(
        "update backup set state = 'failed', outcome = 'restored', done_at = $1
         where state in ('waiting', 'running') and kind <> 'erase'",
        now,
    )
    .execute(db)
    .await
    .context("settle open backups of a backup")?;
    Ok(())
}

/// The backup of everything that is under way or waits: a second one at the same time is the same.
pub async fn open_all(db: impl PgExecutor<'_>) -> anyhow::Result<Option<BackupId>> {
    sqlx::query_scalar!(
        r#"select id as "id: BackupId" from backup
           where kind = 'all' and state in ('waiting', 'running') order by id limit 1"#
    )
    .fetch_optional(db)
    .await
    .context("look for a backup under way")
}

/// The sandboxes that wait for their files; nobody may start one of those. Whose files are first to be
/// backed up is none of them yet: held for the one, it could not be held for the other.
pub async fn to_restore(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<SandboxId>> {
    let waiting = sqlx::query_scalar!(
        r#"select distinct b.sandbox_id as "sandbox: SandboxId" from backup b
           where b.kind = 'restore' and b.state in ('waiting', 'running')
             and not exists (select from backup e where e.sandbox_id = b.sandbox_id and e.id < b.id
                             and e.kind <> 'restore' and e.state in ('waiting', 'running'))"#
    )
    .fetch_all(db)
    .await
    .context("look which sandboxes wait for their files")?;
    Ok(waiting.into_iter().flatten().collect())
}

/// The sandboxes that are to get other files, whatever has to be done before.
pub async fn open_restores(db: impl PgExecutor<'_>) -> anyhow::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(distinct sandbox_id) as "count!" from backup
           where kind = 'restore' and state in ('waiting', 'running')"#
    )
    .fetch_one(db)
    .await
    .context("count the sandboxes that wait for their files")
}

/// Takes up what is due and nobody with a lease (`live`) works on. Somebody who waits for their
/// files comes first, and then who wants to be forgotten.
pub async fn take(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    live: &[WorkerId],
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Job>> {
    let live: Vec<_> = live.iter().map(|worker| worker.0).collect();
    sqlx::query_as!(
        Job,
        r#"update backup set state = 'running', worker_id = $1, attempts = attempts + 1,
                             started_at = coalesce(started_at, $3)
           where id = (
               select b.id from backup b
               where b.state in ('waiting', 'running')
                 and (b.state = 'running' or b.run_after <= $3)
                 and (b.state = 'waiting' or b.worker_id <> all($2))
                 and not exists (select from backup e where e.sandbox_id = b.sandbox_id and e.id < b.id
                                 and e.state in ('waiting', 'running'))
                 and not exists (select from backup c where c.parent_id = b.id
                                 and c.state in ('waiting', 'running'))
               order by (b.kind = 'restore' and exists (
                            select from turn t where t.sandbox_id = b.sandbox_id and t.state = 'active')) desc,
                        b.kind = 'erase' desc, b.kind = 'restore' desc, b.run_after, b.id
               limit 1 for update skip locked)
           returning id as "id: BackupId", kind as "kind: Kind", parent_id as "parent: BackupId",
               sandbox_id as "sandbox: SandboxId", object, outcome, actor, attempts, requested_at"#,
        worker as WorkerId,
        &live,
        now,
    )
    .fetch_optional(db)
    .await
    .context("take a backup up")
}

/// Tells whoever follows it how much there is; of a restore also that it was begun for good.
pub async fn progress(
    db: impl PgExecutor<'_>,
    job: &Job,
    entries: u64,
    bytes: u64,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update backup set entries = $2, bytes = $3 where id = $1 and state = 'running'",
        job.id as BackupId,
        entries as i64,
        bytes as i64,
    )
    .execute(db)
    .await
    .context("note how far a backup is")?;
    Ok(())
}

/// Puts it off. `counted`: it was tried in vain; otherwise it only waits for its time.
pub async fn later(
    db: impl PgExecutor<'_>,
    job: &Job,
    outcome: &str,
    counted: bool,
    run_after: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update backup set state = 'waiting', outcome = $2, run_after = $3,
                           attempts = case when $4 then attempts else attempts - 1 end
         where id = $1 and state = 'running'",
        job.id as BackupId,
        outcome,
        run_after,
        counted,
    )
    .execute(db)
    .await
    .context("put a backup off")?;
    Ok(())
}

/// How it ended.
#[derive(Clone, Debug, Default)]
pub struct End {
    pub outcome: &'static str,
    pub object: Option<String>,
    pub entries: u64,
    pub bytes: u64,
    pub stored_bytes: u64,
}

/// Ends it. False when somebody else has.
pub async fn end(
    db: impl PgExecutor<'_>,
    job: &Job,
    state: State,
    end: &End,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let done = sqlx::query!(
        "update backup set state = $2, outcome = $3, object = coalesce($4, object), entries = $5,
                           bytes = $6, stored_bytes = $7, done_at = $8
         where id = $1 and state = 'running'",
        job.id as BackupId,
        state as State,
        end.outcome,
        end.object,
        end.entries as i64,
        end.bytes as i64,
        end.stored_bytes as i64,
        now,
    )
    .execute(db)
    .await
    .context("end a backup")?;
    Ok(done.rows_affected() == 1)
}

/// The sandboxes of a backup of everything, all at once; asked for a second time they are the same.
pub async fn add_parts(
    conn: &mut PgConnection,
    job: &Job,
    sandboxes: &[SandboxId],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let ids: Vec<_> = sandboxes.iter().map(|_| BackupId::new().0).collect();
    let sandboxes: Vec<_> = sandboxes.iter().map(|sandbox| sandbox.0).collect();
    sqlx::query!(
        "insert into backup (id, kind, parent_id, sandbox_id, actor, run_after, requested_at)
         select part.id, 'sandbox', $1, part.sandbox, $5, $4, $4
         from unnest($2::uuid[], $3::uuid[]) part (id, sandbox)",
        job.id as BackupId,
        &ids,
        &sandboxes,
        now,
        job.actor,
    )
    .execute(&mut *conn)
    .await
    .context("add the sandboxes of a backup")?;
    sqlx::query!(
        "update backup set state = 'waiting', outcome = 'sandboxes', attempts = 0
         where id = $1 and state = 'running'",
        job.id as BackupId,
    )
    .execute(conn)
    .await
    .context("add the sandboxes of a backup")?;
    Ok(())
}

/// Gives up what was asked for a sandbox that is erased, but for the erasing.
pub async fn drop_wishes(db: impl PgExecutor<'_>, sandbox: SandboxId) -> anyhow::Result<()> {
    sqlx::query!(
        "delete from backup where sandbox_id = $1 and kind <> 'erase' and state = 'waiting'",
        sandbox as SandboxId,
    )
    .execute(db)
    .await
    .context("drop what was asked for a sandbox")?;
    Ok(())
}

/// Forgets what ended before then, but for the latest of everything.
pub async fn forget(
    db: impl PgExecutor<'_>,
    done_before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from backup where id = any(array(
             select b.id from backup b
             where b.state in ('done', 'failed') and b.done_at < $1
               and (b.kind <> 'all' or exists (
                   select from backup n where n.kind = 'all' and n.state = 'done'
                   and n.requested_at > b.requested_at))
             order by b.done_at limit $2))",
        done_before,
        limit,
    )
    .execute(db)
    .await
    .context("forget old backups")?;
    Ok(deleted.rows_affected())
}
