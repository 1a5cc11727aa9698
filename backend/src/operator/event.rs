//! Table `event`: what operators did, and what people had done about themselves. Rows are only ever added; the database refuses anything else.
//!
//! Written in the transaction of the action itself, so that there is neither without the other.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

use crate::id::TenantId;

/// One action of an operator.
pub struct Event<'a> {
    pub actor: &'a str,
    pub tenant: Option<TenantId>,
    pub kind: &'static str,
    /// Ids, counts and the operator's reason; never content of messages.
    pub detail: Value,
}

pub async fn record(
    db: impl PgExecutor<'_>,
    event: Event<'_>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into event (id, at, actor, tenant_id, kind, detail)
         values ($1, $2, $3, $4, $5, $6::text::jsonb)",
        uuid::Uuid::now_v7(),
        now,
        event.actor,
        event.tenant as Option<TenantId>,
        event.kind,
        event.detail.to_string(),
    )
    .execute(db)
    .await
    .context("record an operator's action")?;
    Ok(())
}

/// What was done about a person, the latest first.
pub struct Done {
    pub at: DateTime<Utc>,
    pub actor: String,
    pub kind: String,
}

pub async fn about(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    limit: i64,
) -> anyhow::Result<Vec<Done>> {
    sqlx::query_as!(
        Done,
        "select at, actor, kind from event where tenant_id = $1 order by id desc limit $2",
        tenant as TenantId,
        limit,
    )
    .fetch_all(db)
    .await
    .context("read what was done about a person")
}
