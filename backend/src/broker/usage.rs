//! The table `usage`: what every call of a model cost, and every voice message that was heard, and the limits
//! that follow from it.
//!
//! A call is reserved at its worst case before it is forwarded and settled when its usage is
//! known. A row whose process died stays reserved and counts at its worst case until it is a day
//! old: rather too much than too little.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgExecutor, PgTransaction};

use crate::{
    config,
    id::{CallId, SandboxId, TenantId},
};

/// How long a call is kept: the longest budget is a month's, and this leaves time to look into it.
pub const KEPT: TimeDelta = TimeDelta::days(40);
/// The window of the token limits.
const DAY: TimeDelta = TimeDelta::days(1);
/// Held while limits are checked, so that two calls cannot both take what is left for one.
/// One lock for all, since one limit is on all; it is held for a few milliseconds a call.
const LOCK: i64 = 0x636b_7573_6167;

/// A call that is about to be forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub id: CallId,
    pub sandbox: SandboxId,
    /// `None` for a sandbox in the warm pool, which is then limited by itself.
    pub tenant: Option<TenantId>,
    pub model: &'a str,
    /// Worst case.
    pub tokens: i64,
    /// Calls since then belong to the same turn.
    pub turn_since: DateTime<Utc>,
}

/// Speech that was put into words.
#[derive(Clone, Copy, Debug)]
pub struct Speech<'a> {
    pub sandbox: SandboxId,
    pub tenant: TenantId,
    /// Of the service.
    pub model: &'a str,
    pub seconds: i64,
}

/// Which limit a call met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    CallsPerTurn,
    TenantDay,
    Day,
}

/// Writes a call down if no limit forbids it. In a transaction, because the lock lives as long:
/// without it, calls at the same moment would not see each other.
pub async fn reserve(
    tx: &mut PgTransaction<'_>,
    call: &Call<'_>,
    limits: &config::Llm,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<(), Met>> {
    sqlx::query!("select pg_advisory_xact_lock($1)", LOCK)
        .execute(&mut **tx)
        .await?;
    let met = sqlx::query_scalar!(
        r#"
        with recent as (
            select at, tokens, seconds, coalesce(tenant_id = $3, false) or sandbox_id = $2 as own
            from usage where at > $8
        ), met as (
            select case
                when count(*) filter (where own and at >= $7 and seconds = 0) >= $9 then 'calls_per_turn'
                when coalesce(sum(tokens) filter (where own), 0) + $6::bigint > $10::bigint then 'tenant_day'
                when coalesce(sum(tokens), 0) + $6::bigint > $11::bigint then 'day'
            end as limit_met
            from recent
        ), reserved as (
            insert into usage (request_id, sandbox_id, tenant_id, at, model, tokens, state)
            select $1, $2, $3, $4, $5, $6::bigint, 'reserved' from met where limit_met is null
        )
        select limit_met from met
        "#,
        call.id.0,
        call.sandbox.0,
        call.tenant.map(|tenant| tenant.0),
        now,
        call.model,
        call.tokens,
        call.turn_since,
        now - DAY,
        limits.calls_per_turn,
        limits.tokens_per_tenant_day,
        limits.tokens_per_day,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(match met.as_deref() {
        None => Ok(()),
        Some("calls_per_turn") => Err(Met::CallsPerTurn),
        Some("tenant_day") => Err(Met::TenantDay),
        Some(_) => Err(Met::Day),
    })
}

/// Tokens of the last day: of a person, and of all.
pub async fn spent(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> sqlx::Result<(i64, i64)> {
    let spent = sqlx::query!(
        r#"select coalesce(sum(tokens) filter (where tenant_id = $1), 0)::bigint as "own!",
                  coalesce(sum(tokens), 0)::bigint as "all!"
         from usage where at > $2"#,
        tenant.0,
        now - DAY,
    )
    .fetch_one(db)
    .await?;
    Ok((spent.own, spent.all))
}

/// Writes down what was heard. It counts against no limit but that of files.
pub async fn heard(
    db: impl PgExecutor<'_>,
    speech: &Speech<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into usage (request_id, sandbox_id, tenant_id, at, model, tokens, seconds, state)
         values ($1, $2, $3, $4, $5, 0, $6, 'final')",
        CallId::new().0,
        speech.sandbox.0,
        speech.tenant.0,
        now,
        speech.model,
        speech.seconds,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Replaces a call's worst case by what it cost. Harmless when done twice.
pub async fn settle(db: impl PgExecutor<'_>, id: CallId, tokens: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "update usage set tokens = $2, state = 'final' where request_id = $1 and state = 'reserved'",
        id.0,
        tokens,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// All that was used in the window of the limits, as far as it is known; the rest at its worst case.
pub async fn tokens_in_a_day(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select coalesce(sum(tokens), 0)::bigint as "tokens!" from usage where at > $1"#,
        now - DAY,
    )
    .fetch_one(db)
    .await
}

/// What an erased person's calls cost stays, as nobody's.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> sqlx::Result<u64> {
    let emptied = sqlx::query!(
        "update usage set tenant_id = null where tenant_id = $1",
        tenant as TenantId
    )
    .execute(db)
    .await?;
    Ok(emptied.rows_affected())
}

/// Deletes some calls that began before then.
pub async fn forget(
    db: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "delete from usage where request_id = any(array(
             select request_id from usage where at < $1 order by at limit $2))",
        before,
        limit,
    )
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}
