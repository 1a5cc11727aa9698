//! The table `sandbox`: what Docker cannot know. SQL on it appears nowhere else.
//!
//! Everyone calls it: route assigns, deliver keeps the cursor, the broker looks tokens up, and the
//! reconcile loop reads intents and counts failures. It never says whether a container exists.

pub mod conversation;
pub mod image;
pub mod order;
pub mod pool;
pub mod saved;

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::id::{SandboxId, TenantId};

/// A slot is used again so long after its sandbox is gone: whoever still holds its address or a
/// socket to it has given up by then.
const SLOT_REST: TimeDelta = TimeDelta::minutes(10);
/// Two people who come at once want the same lowest slot; each try lets at least one of them in.
const MAX_ASSIGN_TRIES: u32 = 200;

/// The operator's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Auto,
    Stopped,
    Gone,
}

/// What the reconcile loop needs to know of a sandbox.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: SandboxId,
    pub slot: i32,
    pub intent: Intent,
    pub image: Option<String>,
    pub epoch: i32,
    pub failures: i32,
    pub retry_at: Option<DateTime<Utc>>,
    /// Nobody owns it yet.
    pub pooled: bool,
    /// It has let us in once.
    pub booted: bool,
    pub last_active_at: Option<DateTime<Utc>>,
    pub wake_at: Option<DateTime<Utc>>,
    pub pause_at: Option<DateTime<Utc>>,
    pub stop_at: Option<DateTime<Utc>>,
    pub gone_at: Option<DateTime<Utc>>,
}

/// The tenant's sandbox: theirs, or one from the pool, or a new one with the lowest free slot.
pub async fn assign(
    conn: &mut PgConnection,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<SandboxId> {
    if let Some(id) = of(&mut *conn, tenant).await? {
        return Ok(id);
    }
    let id = match pool::claim(&mut *conn, tenant).await? {
        Some(id) => id,
        None => make(conn, Some(tenant), now).await?,
    };
    tracing::info!(sandbox.id = %id, tenant.id = %tenant, "sandbox assigned");
    Ok(id)
}

/// A new sandbox with the lowest free slot; without a tenant it is the pool's.
pub(in crate::sandbox) async fn make(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    now: DateTime<Utc>,
) -> anyhow::Result<SandboxId> {
    for _ in 0..MAX_ASSIGN_TRIES {
        // No row comes back when another transaction has just taken the slot or the tenant.
        let made = sqlx::query_scalar!(
            r#"insert into sandbox (id, slot, tenant_id, created_at)
               select $1, taken.slot + 1, $2, $3
               from (select 0 as slot union all select slot from sandbox) taken
               where not exists (select from sandbox next where next.slot = taken.slot + 1)
               order by taken.slot limit 1
               on conflict do nothing
               returning id as "id: SandboxId""#,
            SandboxId::new().0,
            tenant as Option<TenantId>,
            now
        )
        .fetch_optional(&mut *conn)
        .await
        .context("make a sandbox")?;
        if let Some(id) = made {
            return Ok(id);
        }
        if let Some(tenant) = tenant
            && let Some(id) = of(&mut *conn, tenant).await?
        {
            return Ok(id);
        }
    }
    bail!("no slot could be taken for a sandbox")
}

/// A person's sandbox, if they have one.
pub async fn of(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<Option<SandboxId>> {
    sqlx::query_scalar!(
        r#"select id as "id: SandboxId" from sandbox where tenant_id = $1"#,
        tenant.0
    )
    .fetch_optional(db)
    .await
    .context("find a tenant's sandbox")
}

/// Whose a sandbox is.
pub async fn tenant_of(db: impl PgExecutor<'_>, id: SandboxId) -> anyhow::Result<Option<TenantId>> {
    let tenant = sqlx::query_scalar!(
        r#"select tenant_id as "tenant: TenantId" from sandbox where id = $1"#,
        id.0
    )
    .fetch_optional(db)
    .await
    .context("find a sandbox's tenant")?;
    Ok(tenant.flatten())
}

/// Gives the sandbox up: container and volume go, and the person's next one is a new one.
pub async fn retire(db: impl PgExecutor<'_>, id: SandboxId) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set intent = 'gone', tenant_id = null, broker_token_hash = null where id = $1",
        id.0
    )
    .execute(db)
    .await
    .context("retire a sandbox")?;
    Ok(())
}

/// The rows of these sandboxes, of all that are to go and are not gone yet, of the pool, and of all
/// that an operator called since `called_since`. Never all rows: ten thousand people of whom ten
/// are awake must not cost anything every second.
pub async fn list(
    db: impl PgExecutor<'_>,
    ids: &[SandboxId],
    called_since: DateTime<Utc>,
) -> anyhow::Result<Vec<Row>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    sqlx::query_as!(
        Row,
        r#"select id as "id: SandboxId", slot, intent as "intent: String", image, epoch, failures,
                  retry_at, tenant_id is null as "pooled!", booted_at is not null as "booted!",
                  last_active_at, wake_at, pause_at, stop_at, gone_at
           from sandbox
           where id = any($1) or (intent = 'gone' and gone_at is null)
             or (tenant_id is null and intent = 'auto') or wake_at > $2
           order by id"#,
        &ids,
        called_since
    )
    .fetch_all(db)
    .await
    .context("list sandboxes")
}

impl From<String> for Intent {
    /// The table's check allows no other word.
    fn from(text: String) -> Self {
        match text.as_str() {
            "gone" => Self::Gone,
            "stopped" => Self::Stopped,
            _ => Self::Auto,
        }
    }
}

/// Counts a start before it is made, and stores what the sandbox will call the broker with. A start
/// that ends in a ready gateway is taken back by [`succeed`].
pub async fn begin_start(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    spec_hash: &str,
    broker_token_hash: &[u8; 32],
    retry_at: DateTime<Utc>,
) -> anyhow::Result<()> {
    let done = sqlx::query!(
        "update sandbox set failures = failures + 1, retry_at = $4, spec_hash = $2, broker_token_hash = $3
         where id = $1",
        id.0,
        spec_hash,
        broker_token_hash,
        retry_at
    )
    .execute(db)
    .await
    .context("count a start")?;
    if done.rows_affected() != 1 {
        bail!("sandbox {id} has no row any more");
    }
    Ok(())
}

/// A container that could not even be made.
pub async fn count_failure(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    retry_at: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set failures = failures + 1, retry_at = $2 where id = $1",
        id.0,
        retry_at
    )
    .execute(db)
    .await
    .context("count a failure")?;
    Ok(())
}

/// The gateway answered: whatever failed before is forgotten.
pub async fn succeed(db: impl PgExecutor<'_>, id: SandboxId) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set failures = 0, retry_at = null where id = $1",
        id.0
    )
    .execute(db)
    .await
    .context("note a ready sandbox")?;
    Ok(())
}

/// The gateway never became ready, or answers nonsense. Its start has been counted already, unless
/// it had been ready since. `backoff` is what follows so many failures.
pub async fn fail(
    conn: &mut PgConnection,
    id: SandboxId,
    now: DateTime<Utc>,
    backoff: impl Fn(i32) -> Duration,
) -> anyhow::Result<()> {
    let failures = sqlx::query_scalar!(
        "update sandbox set failures = greatest(failures, 1) where id = $1 returning failures",
        id.0
    )
    .fetch_optional(&mut *conn)
    .await
    .context("count a failure")?;
    let Some(failures) = failures else {
        return Ok(());
    };
    sqlx::query!(
        "update sandbox set retry_at = $2 where id = $1",
        id.0,
        now + backoff(failures)
    )
    .execute(conn)
    .await
    .context("count a failure")?;
    Ok(())
}

/// Container and volume are removed; the slot rests from now on.
pub async fn gone(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!("update sandbox set gone_at = $2 where id = $1", id.0, now)
        .execute(db)
        .await
        .context("note that a sandbox is gone")?;
    Ok(())
}

/// Frees slots that have rested. A row that others still refer to stays, and its slot with it,
/// until they are swept: one statement per row, outside of any transaction, so that it holds up no
/// other.
pub async fn free_slots(conn: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let rested = sqlx::query_scalar!(
        r#"select id as "id: SandboxId" from sandbox where gone_at < $1"#,
        now - SLOT_REST
    )
    .fetch_all(&mut *conn)
    .await
    .context("list rested slots")?;
    let mut freed = 0;
    for id in rested {
        let deleted = sqlx::query!("delete from sandbox where id = $1", id.0)
            .execute(&mut *conn)
            .await;
        match deleted {
            Ok(done) => freed += done.rows_affected(),
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {}
            Err(error) => return Err(error).context("free a slot"),
        }
    }
    Ok(freed)
}

/// Which of these have a row.
pub async fn known(db: impl PgExecutor<'_>, ids: &[SandboxId]) -> anyhow::Result<Vec<SandboxId>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    sqlx::query_scalar!(
        r#"select id as "id: SandboxId" from sandbox where id = any($1)"#,
        &ids
    )
    .fetch_all(db)
    .await
    .context("look sandboxes up")
}

/// Who calls the broker: the sandbox, whose it is and its slot, which says from where it may call.
pub async fn by_broker_token(
    db: impl PgExecutor<'_>,
    hash: &[u8; 32],
) -> anyhow::Result<Option<(SandboxId, Option<TenantId>, i32)>> {
    let row = sqlx::query!(
        r#"select id as "id: SandboxId", tenant_id as "tenant: TenantId", slot
           from sandbox where broker_token_hash = $1 and gone_at is null"#,
        hash.as_slice()
    )
    .fetch_optional(db)
    .await
    .context("look a broker token up")?;
    Ok(row.map(|row| (row.id, row.tenant, row.slot)))
}

/// A turn of the person happened.
pub async fn touch(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set last_active_at = $2 where id = $1",
        id.0,
        now
    )
    .execute(db)
    .await
    .context("note a sandbox's activity")?;
    Ok(())
}

/// Stores the operator's will for a tenant's sandbox, if there is one.
pub async fn set_intent(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    intent: Intent,
) -> anyhow::Result<Option<SandboxId>> {
    let word = match intent {
        Intent::Auto => "auto",
        Intent::Stopped => "stopped",
        Intent::Gone => "gone",
    };
    sqlx::query_scalar!(
        r#"update sandbox set intent = $2 where tenant_id = $1 and intent <> 'gone'
           returning id as "id: SandboxId""#,
        tenant.0,
        word,
    )
    .fetch_optional(db)
    .await
    .context("store what is wanted of a sandbox")
}
