//! Table `turn`: one exchange with an agent. A person has at most one that is active, and only the
//! worker that holds it may finish it.

pub mod deadline;
pub mod stop;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::id::{SandboxId, TenantId, TurnId, WorkerId};

/// What started a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Trigger {
    /// The person wrote.
    Message,
    /// Something they asked to be reminded of is due.
    Reminder,
    /// The agent's regular look whether they need something.
    Heartbeat,
}

/// A turn this worker holds.
#[derive(Clone, Debug)]
pub struct Turn {
    pub id: TurnId,
    pub tenant: TenantId,
    pub sandbox: SandboxId,
    pub trigger: Trigger,
    pub created_at: DateTime<Utc>,
    /// How often the agent was asked; part of the idempotency key.
    pub attempt: i32,
    /// How many workers died over it.
    pub claims: i32,
    pub deadline_at: DateTime<Utc>,
}

/// Opens a turn for a person who has none. `None` when somebody else was faster.
pub async fn open(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    tenant: TenantId,
    sandbox: SandboxId,
    trigger: Trigger,
    deadline: TimeDelta,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Turn>> {
    let turn = sqlx::query_as!(
        Turn,
        r#"insert into turn (id, tenant_id, sandbox_id, trigger, worker_id, created_at, deadline_at)
         values ($1, $2, $3, $7, $4, $5, $6)
         on conflict (tenant_id) where state = 'active' do nothing
         returning id as "id: TurnId", tenant_id as "tenant: TenantId",
             sandbox_id as "sandbox: SandboxId", trigger as "trigger: Trigger", created_at,
             attempt, claims, deadline_at"#,
        TurnId::new() as TurnId,
        tenant as TenantId,
        sandbox as SandboxId,
        worker as WorkerId,
        now,
        now + deadline,
        trigger as Trigger,
    )
    .fetch_optional(db)
    .await?;
    Ok(turn)
}

/// Takes over the turns that nobody works on: their worker has no lease (`live` are those that
/// have), or it is this one and has no task for them (`running` are those that have).
/// A turn that was given back in peace does not count as one that killed its worker.
pub async fn adopt(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    live: &[WorkerId],
    running: &[TurnId],
) -> anyhow::Result<Vec<Turn>> {
    let live: Vec<_> = live.iter().map(|worker| worker.0).collect();
    let running: Vec<_> = running.iter().map(|turn| turn.0).collect();
    let turns = sqlx::query_as!(
        Turn,
        r#"update turn
         set worker_id = $1, claims = claims + case when worker_id is null then 0 else 1 end
         where state = 'active' and id <> all($3)
           and (worker_id is null or worker_id = $1 or worker_id <> all($2))
         returning id as "id: TurnId", tenant_id as "tenant: TenantId",
             sandbox_id as "sandbox: SandboxId", trigger as "trigger: Trigger", created_at,
             attempt, claims, deadline_at"#,
        worker as WorkerId,
        &live,
        &running,
    )
    .fetch_all(db)
    .await?;
    Ok(turns)
}

/// Gives a turn back at a graceful stop, so that the next worker takes it at once.
pub async fn give_back(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    turn: &Turn,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update turn set worker_id = null
         where id = $1 and tenant_id = $2 and worker_id = $3 and state = 'active'",
        turn.id as TurnId,
        turn.tenant as TenantId,
        worker as WorkerId,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes when the agent first had the question.
pub async fn submitted(
    db: impl PgExecutor<'_>,
    turn: &Turn,
    session: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update turn set session = $3, submitted_at = coalesce(submitted_at, $4)
         where id = $1 and tenant_id = $2 and state = 'active'",
        turn.id as TurnId,
        turn.tenant as TenantId,
        session,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether the agent ever had the question, as far as it was noted.
pub async fn was_submitted(db: impl PgExecutor<'_>, turn: &Turn) -> anyhow::Result<bool> {
    let submitted = sqlx::query_scalar!(
        r#"select submitted_at is not null as "submitted!" from turn where id = $1 and tenant_id = $2"#,
        turn.id as TurnId,
        turn.tenant as TenantId,
    );
    Ok(submitted.fetch_optional(db).await?.unwrap_or_default())
}

/// How many turns are active, and since when the oldest is.
pub async fn active(db: impl PgExecutor<'_>) -> anyhow::Result<(i64, Option<DateTime<Utc>>)> {
    let active = sqlx::query!(
        r#"select count(*) as "count!", min(created_at) as since from turn where state = 'active'"#
    )
    .fetch_one(db)
    .await?;
    Ok((active.count, active.since))
}

/// A turn that is over, for the figures.
pub struct Ended {
    pub trigger: String,
    pub outcome: String,
    pub seconds: f64,
}

/// The turns that ended after `from` and not after `to`, at most `limit`.
pub async fn ended(
    db: impl PgExecutor<'_>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<Vec<Ended>> {
    let turns = sqlx::query_as!(
        Ended,
        r#"select trigger, coalesce(outcome, '') as "outcome!",
                  extract(epoch from done_at - created_at)::float8 as "seconds!"
           from turn where done_at is not null and done_at > $1 and done_at <= $2
           order by done_at limit $3"#,
        from,
        to,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(turns)
}

/// Deletes some turns that ended before then and that no inbox row names. A person's latest stays,
/// and the latest they asked for: they say when the person was answered before. Not so when its sandbox
/// is gone, whose slot it would keep, or the person.
pub async fn forget(
    db: impl PgExecutor<'_>,
    done_before: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from turn where id = any(array(
             select t.id from turn t
             where t.done_at is not null and t.done_at < $1 and t.state <> 'active'
               and (select i.id from inbox i where i.turn_id = t.id limit 1) is null
               and (exists (select from turn n where n.tenant_id = t.tenant_id and n.id > t.id
                            and (n.trigger = 'message' or t.trigger <> 'message'))
                    or exists (select from sandbox s where s.id = t.sandbox_id and s.gone_at is not null)
                    or exists (select from tenant e where e.id = t.tenant_id and e.status = 'erased'))
             order by t.done_at limit $2))",
        done_before,
        limit,
    )
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}

/// Commits that the agent is asked again under a new key. False when the turn is no longer ours.
pub async fn ask_again(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    turn: &Turn,
) -> anyhow::Result<bool> {
    let updated = sqlx::query!(
        "update turn set attempt = attempt + 1
         where id = $1 and tenant_id = $2 and worker_id = $3 and attempt = $4 and state = 'active'",
        turn.id as TurnId,
        turn.tenant as TenantId,
        worker as WorkerId,
        turn.attempt,
    )
    .execute(db)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answered,
    Silent,
    /// Nobody had asked, and then the person wrote: their message goes first.
    GaveWay,
    /// Its person asked for that, and heard so.
    Stopped,
    /// With an apology if somebody waits for an answer; the reason is for the operator.
    Buried(&'static str),
}

impl End {
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Silent => "silent",
            Self::GaveWay => "gave_way",
            Self::Stopped => "stopped",
            Self::Buried(reason) => reason,
        }
    }
}

/// Ends a turn in the caller's transaction. False when it is no longer ours, or its person has stopped
/// it meanwhile: then roll back.
pub async fn finish(
    conn: &mut PgConnection,
    worker: WorkerId,
    turn: &Turn,
    end: End,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let state = if matches!(end, End::Buried(_)) {
        "buried"
    } else {
        "done"
    };
    let updated = sqlx::query!(
        "update turn set state = $5, outcome = $6, done_at = $7
         where id = $1 and tenant_id = $2 and worker_id = $3 and attempt = $4 and state = 'active'
           and (stop_asked_at is null or $8)",
        turn.id as TurnId,
        turn.tenant as TenantId,
        worker as WorkerId,
        turn.attempt,
        state,
        end.outcome(),
        now,
        end == End::Stopped,
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Whether the person has been answered before.
pub async fn has_earlier(db: impl PgExecutor<'_>, turn: &Turn) -> anyhow::Result<bool> {
    let has = sqlx::query_scalar!(
        r#"select exists (select from turn where tenant_id = $1 and id < $2) as "has!""#,
        turn.tenant as TenantId,
        turn.id as TurnId,
    )
    .fetch_one(db)
    .await?;
    Ok(has)
}

/// When the person's last turn before this one began that they had asked for themselves.
pub async fn last_message_before(
    db: impl PgExecutor<'_>,
    turn: &Turn,
) -> anyhow::Result<DateTime<Utc>> {
    let last = sqlx::query_scalar!(
        "select max(created_at) from turn
         where tenant_id = $1 and id < $2 and trigger = 'message'",
        turn.tenant as TenantId,
        turn.id as TurnId,
    )
    .fetch_one(db)
    .await?;
    Ok(last.unwrap_or(DateTime::UNIX_EPOCH))
}

/// Whether the person has an active turn.
pub async fn is_active(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<bool> {
    Ok(active_since(db, tenant).await?.is_some())
}

/// Everyone who has an active turn.
pub async fn busy_tenants(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<TenantId>> {
    let tenants = sqlx::query_scalar!(
        r#"select tenant_id as "tenant: TenantId" from turn where state = 'active'"#
    )
    .fetch_all(db)
    .await?;
    Ok(tenants)
}

/// The sandboxes that must be awake because a turn is open, and since when.
pub async fn open_sandboxes(
    db: impl PgExecutor<'_>,
) -> anyhow::Result<HashMap<SandboxId, DateTime<Utc>>> {
    let open = sqlx::query!(
        r#"select sandbox_id as "sandbox: SandboxId", created_at from turn where state = 'active'"#
    )
    .fetch_all(db)
    .await?;
    Ok(open
        .into_iter()
        .map(|turn| (turn.sandbox, turn.created_at))
        .collect())
}

/// Since when a person's active turn runs, for the limit of model calls in a turn.
pub async fn active_since(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let since = sqlx::query_scalar!(
        "select created_at from turn where tenant_id = $1 and state = 'active'",
        tenant as TenantId,
    )
    .fetch_optional(db)
    .await?;
    Ok(since)
}

/// Ends and forgets all turns of a person who is erased. Whoever works on one finds it no longer theirs.
/// What they said of messages must be gone first.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> sqlx::Result<u64> {
    let deleted = sqlx::query!("delete from turn where tenant_id = $1", tenant as TenantId)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected())
}

/// Turns that a backup found active are over, or, where nothing ran after it, anybody's to take.
pub async fn settle_restored(
    db: impl PgExecutor<'_>,
    goes_on: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let settled = sqlx::query!(
        "update turn set worker_id = null,
             state = case when $1 then state else 'buried' end,
             outcome = case when $1 then outcome else 'restored' end,
             done_at = case when $1 then done_at else $2 end
         where state = 'active'",
        goes_on,
        now,
    )
    .execute(db)
    .await?;
    Ok(settled.rows_affected())
}
