//! Tables `upgrade` and `upgrade_sandbox`: which sandboxes are to be moved to which image, and how
//! far that is.
//!
//! A command asks, the worker's station (`worker/upgrade`) does. What is written here is what a
//! crash leaves: whoever comes next reads from a sandbox's [`State`] what may have been done to it.

pub mod look;
#[cfg(test)]
mod tests;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::{
    id::{SandboxId, UpgradeId, WorkerId},
    sandbox::row::image,
};

/// Where one sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    Waiting,
    /// Nothing is changed yet.
    Running,
    /// The new image may have touched its files.
    Replacing,
    /// It is to be as it was.
    RollingBack,
    Done,
    RolledBack,
    /// There was no need, or nobody to upgrade.
    Skipped,
    /// Nothing was changed.
    Failed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Replacing => "replacing",
            Self::RollingBack => "rolling_back",
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// An image's id.
    pub image: String,
    pub reference: String,
    pub which: Which,
    /// So many come first, and all of them must become ready.
    pub canaries: i32,
    pub max_failures: i32,
    pub ready_within_seconds: i32,
    pub actor: String,
}

#[derive(Clone, Debug)]
pub enum Which {
    /// All that run another image.
    All,
    /// So many of them.
    Some(i64),
    These(Vec<SandboxId>),
}

/// The upgrade under way.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: UpgradeId,
    pub image: String,
    pub canaries: i32,
    pub max_failures: i32,
    pub ready_within_seconds: i32,
    pub stop_asked: bool,
}

/// One sandbox that this worker has taken up.
#[derive(Clone, Debug)]
pub struct Part {
    pub upgrade: UpgradeId,
    pub sandbox: SandboxId,
    pub state: State,
    pub outcome: Option<String>,
    pub image_before: Option<String>,
    pub snapshot: Option<String>,
    pub attempts: i32,
    pub started_at: DateTime<Utc>,
}

/// Asks for an upgrade. None: one is under way, or nobody runs another image.
pub async fn ask(
    conn: &mut PgConnection,
    wish: &Wish,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<UpgradeId>> {
    let id = UpgradeId::new();
    let asked = sqlx::query!(
        "insert into upgrade (id, image, reference, canaries, max_failures, ready_within_seconds,
                              actor, requested_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        id as UpgradeId,
        wish.image,
        wish.reference,
        wish.canaries,
        wish.max_failures,
        wish.ready_within_seconds,
        wish.actor,
        now,
    )
    .execute(&mut *conn)
    .await
    .context("ask for an upgrade")?;
    if asked.rows_affected() == 0 {
        return Ok(None);
    }
    let (ids, limit): (Option<Vec<_>>, _) = match &wish.which {
        Which::All => (None, None),
        Which::Some(count) => (None, Some(*count)),
        Which::These(ids) => (Some(ids.iter().map(|id| id.0).collect()), None),
    };
    // Whoever has been idle longest first: they sleep. Last those who never started, for they say
    // nothing about an image.
    let parts = sqlx::query!(
        "insert into upgrade_sandbox (upgrade_id, sandbox_id, position, run_after)
         select $1, id, row_number() over (order by spec_hash is null, last_active_at nulls first, id) - 1, $5
         from sandbox
         where tenant_id is not null and intent = 'auto' and image is distinct from $2
           and ($3::uuid[] is null or id = any($3))
         order by spec_hash is null, last_active_at nulls first, id limit $4",
        id as UpgradeId,
        wish.image,
        ids.as_deref(),
        limit,
        now,
    )
    .execute(&mut *conn)
    .await
    .context("ask for an upgrade")?;
    if parts.rows_affected() == 0 {
        sqlx::query!("delete from upgrade where id = $1", id as UpgradeId)
            .execute(conn)
            .await
            .context("ask for an upgrade")?;
        return Ok(None);
    }
    Ok(Some(id))
}

/// It ends after the sandbox at hand. False: none is under way.
pub async fn ask_to_stop(db: impl PgExecutor<'_>) -> anyhow::Result<Option<UpgradeId>> {
    sqlx::query_scalar!(
        r#"update upgrade set stop_asked = true where state = 'running' returning id as "id: UpgradeId""#
    )
    .fetch_optional(db)
    .await
    .context("ask an upgrade to stop")
}

pub async fn running(db: impl PgExecutor<'_>) -> anyhow::Result<Option<Run>> {
    sqlx::query_as!(
        Run,
        r#"select id as "id: UpgradeId", image, canaries, max_failures, ready_within_seconds, stop_asked
           from upgrade where state = 'running'"#
    )
    .fetch_optional(db)
    .await
    .context("look for an upgrade")
}

/// The sandboxes whose files a new image may have touched: nobody may start one of those before it
/// is known what becomes of it.
pub async fn begun(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<SandboxId>> {
    sqlx::query_scalar!(
        r#"select sandbox_id as "id: SandboxId" from upgrade_sandbox
           where state in ('replacing', 'rolling_back')"#
    )
    .fetch_all(db)
    .await
    .context("look which sandboxes are being upgraded")
}

/// Takes up what was begun, by whomever, and else the next that is due, if `more` may begin. One at a
/// time, and nobody after the canaries before all of them are over.
pub async fn take(
    db: impl PgExecutor<'_>,
    run: &Run,
    worker: WorkerId,
    more: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Part>> {
    sqlx::query_as!(
        Part,
        r#"update upgrade_sandbox set state = case state when 'waiting' then 'running' else state end,
                  worker_id = $2, attempts = attempts + 1, started_at = coalesce(started_at, $3)
           where upgrade_id = $1 and sandbox_id = (
               select p.sandbox_id from upgrade_sandbox p
               where p.upgrade_id = $1 and p.run_after <= $3
                 and (p.state in ('running', 'replacing', 'rolling_back')
                      or (p.state = 'waiting' and $4
                          and not exists (
                              select from upgrade_sandbox b where b.upgrade_id = $1
                              and b.state in ('running', 'replacing', 'rolling_back'))
                          and (p.position < $5 or not exists (
                              select from upgrade_sandbox c where c.upgrade_id = $1
                              and c.position < $5 and c.state = 'waiting'))))
               order by p.position limit 1 for update skip locked)
           returning upgrade_id as "upgrade: UpgradeId", sandbox_id as "sandbox: SandboxId",
                     state as "state: State", outcome, image_before, snapshot, attempts,
                     started_at as "started_at!""#,
        run.id as UpgradeId,
        worker as WorkerId,
        now,
        more,
        run.canaries,
    )
    .fetch_optional(db)
    .await
    .context("take the next sandbox of an upgrade up")
}

/// From here on the way back is known, and the new image may touch it. False: it is somebody else's.
pub async fn replacing(
    db: impl PgExecutor<'_>,
    part: &Part,
    worker: WorkerId,
) -> anyhow::Result<bool> {
    let done = sqlx::query!(
        "update upgrade_sandbox set state = 'replacing', image_before = $4, snapshot = $5,
                                    outcome = null, attempts = 1
         where upgrade_id = $1 and sandbox_id = $2 and worker_id = $3 and state = 'running'",
        part.upgrade as UpgradeId,
        part.sandbox as SandboxId,
        worker as WorkerId,
        part.image_before,
        part.snapshot,
    )
    .execute(db)
    .await
    .context("note the way back from an upgrade")?;
    Ok(done.rows_affected() == 1)
}

/// It is to be as it was. False: it is somebody else's.
pub async fn rolling_back(
    db: impl PgExecutor<'_>,
    part: &Part,
    worker: WorkerId,
    why: &str,
) -> anyhow::Result<bool> {
    let done = sqlx::query!(
        "update upgrade_sandbox set state = 'rolling_back', outcome = $4, attempts = 1
         where upgrade_id = $1 and sandbox_id = $2 and worker_id = $3 and state = 'replacing'",
        part.upgrade as UpgradeId,
        part.sandbox as SandboxId,
        worker as WorkerId,
        why,
    )
    .execute(db)
    .await
    .context("note that an upgrade is to be taken back")?;
    Ok(done.rows_affected() == 1)
}

/// Puts off what was taken up; what has changed nothing yet goes back to those who wait. `counted`: it
/// was tried in vain.
pub async fn later(
    db: impl PgExecutor<'_>,
    part: &Part,
    worker: WorkerId,
    outcome: Option<&str>,
    counted: bool,
    run_after: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update upgrade_sandbox set state = case state when 'running' then 'waiting' else state end,
                outcome = coalesce($4, outcome), run_after = $5,
                attempts = case when $6 then attempts else attempts - 1 end
         where upgrade_id = $1 and sandbox_id = $2 and worker_id = $3
           and state in ('running', 'replacing', 'rolling_back')",
        part.upgrade as UpgradeId,
        part.sandbox as SandboxId,
        worker as WorkerId,
        outcome,
        run_after,
        counted,
    )
    .execute(db)
    .await
    .context("put a sandbox of an upgrade off")?;
    Ok(())
}

/// How it ended, together with what that means for the sandbox. False: it is somebody else's.
pub async fn end(
    conn: &mut PgConnection,
    run: &Run,
    part: &Part,
    worker: WorkerId,
    (state, outcome): (State, &str),
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let done = sqlx::query!(
        "update upgrade_sandbox set state = $4, outcome = $5, done_at = $6
         where upgrade_id = $1 and sandbox_id = $2 and worker_id = $3
           and state in ('running', 'replacing', 'rolling_back')",
        part.upgrade as UpgradeId,
        part.sandbox as SandboxId,
        worker as WorkerId,
        state as State,
        outcome,
        now,
    )
    .execute(&mut *conn)
    .await
    .context("end the upgrade of a sandbox")?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    match state {
        State::Done => image::moved(conn, part.sandbox, &run.image).await?,
        State::RolledBack => {
            image::moved_back(conn, part.sandbox, part.image_before.as_deref()).await?;
        }
        _ => {}
    }
    Ok(true)
}

/// Ends the whole.
pub async fn finish(
    db: impl PgExecutor<'_>,
    run: &Run,
    state: &str,
    outcome: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update upgrade set state = $2, outcome = $3, done_at = $4 where id = $1 and state = 'running'",
        run.id as UpgradeId,
        state,
        outcome,
        now,
    )
    .execute(db)
    .await
    .context("end an upgrade")?;
    Ok(())
}

/// Forgets upgrades that ended so long ago, but for the latest.
pub async fn forget(
    db: impl PgExecutor<'_>,
    older_than: TimeDelta,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "delete from upgrade u where u.state <> 'running' and u.done_at < $1
           and exists (select from upgrade n where n.id > u.id)",
        now - older_than,
    )
    .execute(db)
    .await
    .context("forget old upgrades")?;
    Ok(())
}
