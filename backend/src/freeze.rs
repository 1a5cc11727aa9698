//! Table `frozen`: where an operator has stopped what goes out.
//!
//! A freeze holds for the whole deployment, a line or a person. While it holds, webhooks are stored
//! and routed as ever, but no message is sent and no turn is opened; a turn that runs ends, and its
//! answer waits. What goes out asks here: `outbox/claim` and `inbox::waiting_tenants` by the view
//! `frozen_tenant`, everybody else by [`is_frozen`]. Frozen time makes no message expire: `outbox/overdue`
//! leaves frozen rows alone, and what was held has its full time again after the thaw.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::{LineId, TenantId};

/// How far a freeze reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    Line(LineId),
    Tenant(TenantId),
}

impl Scope {
    pub fn line(self) -> Option<LineId> {
        match self {
            Self::Line(line) => Some(line),
            _ => None,
        }
    }

    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            _ => None,
        }
    }

    fn of(line: Option<LineId>, tenant: Option<TenantId>) -> Self {
        match (line, tenant) {
            (Some(line), _) => Self::Line(line),
            (_, Some(tenant)) => Self::Tenant(tenant),
            _ => Self::Everything,
        }
    }
}

/// A freeze that holds.
#[derive(Clone, Debug)]
pub struct Freeze {
    pub scope: Scope,
    pub since: DateTime<Utc>,
    pub actor: String,
    pub why: Option<String>,
}

/// Lifts the freeze of a person who is erased.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<()> {
    sqlx::query!(
        "delete from frozen where tenant_id = $1",
        tenant as TenantId
    )
    .execute(db)
    .await
    .context("lift an erased person's freeze")?;
    Ok(())
}

/// Freezes. False when it was frozen already; the first reason stays.
pub async fn set(
    db: impl PgExecutor<'_>,
    scope: Scope,
    actor: &str,
    why: Option<&str>,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let set = sqlx::query!(
        "insert into frozen (id, line_id, tenant_id, since, actor, why)
         values ($1, $2, $3, $4, $5, $6)
         on conflict on constraint frozen_once do nothing",
        uuid::Uuid::now_v7(),
        scope.line() as Option<LineId>,
        scope.tenant() as Option<TenantId>,
        now,
        actor,
        why,
    )
    .execute(db)
    .await
    .context("freeze")?;
    Ok(set.rows_affected() == 1)
}

/// Thaws. Says since when it was frozen; `None` when it was not.
pub async fn lift(db: impl PgExecutor<'_>, scope: Scope) -> anyhow::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "delete from frozen
         where line_id is not distinct from $1 and tenant_id is not distinct from $2
         returning since",
        scope.line() as Option<LineId>,
        scope.tenant() as Option<TenantId>,
    )
    .fetch_optional(db)
    .await
    .context("thaw")
}

/// Whether nothing goes out to this person, for whatever reason of the three.
pub async fn is_frozen(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select from frozen_tenant where tenant_id = $1) as "is_frozen!""#,
        tenant as TenantId,
    )
    .fetch_one(db)
    .await
    .context("look whether a person is frozen")
}

/// Everything that is frozen now, the oldest first.
pub async fn list(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<Freeze>> {
    let rows = sqlx::query!(
        r#"select line_id as "line: LineId", tenant_id as "tenant: TenantId", since, actor, why
           from frozen order by id"#
    )
    .fetch_all(db)
    .await
    .context("list what is frozen")?;
    Ok(rows
        .into_iter()
        .map(|row| Freeze {
            scope: Scope::of(row.line, row.tenant),
            since: row.since,
            actor: row.actor,
            why: row.why,
        })
        .collect())
}
