//! What the tables say of sandboxes. Reads only.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    engine::{Seen, State},
    stamped,
};
use crate::id::{SandboxId, TenantId};

pub struct Listed {
    pub id: SandboxId,
    pub slot: i32,
    /// None for one in the pool.
    pub tenant: Option<TenantId>,
    pub intent: String,
    /// Id of the image it runs; None before its first start.
    pub image: Option<String>,
    pub started_once: bool,
    pub epoch: i32,
    pub session_no: i32,
    /// Whether anything of this conversation's transcript has been read.
    pub has_cursor: bool,
    pub open_turn: bool,
    pub failures: i32,
    pub created_at: DateTime<Utc>,
    pub booted_at: Option<DateTime<Utc>>,
    pub last_active_at: Option<DateTime<Utc>>,
    pub retry_at: Option<DateTime<Utc>>,
    pub snapshot_at: Option<DateTime<Utc>>,
    pub gone_at: Option<DateTime<Utc>>,
    pub wake_at: Option<DateTime<Utc>>,
    pub pause_at: Option<DateTime<Utc>>,
    pub stop_at: Option<DateTime<Utc>>,
}

impl Listed {
    /// Whose it is, in a column.
    pub fn whose(&self) -> String {
        match self.tenant {
            Some(tenant) => tenant.to_string(),
            None if self.intent == "gone" => "-".to_owned(),
            None => "pool".to_owned(),
        }
    }

    pub fn json(&self, state: State, seen: Option<&Seen>) -> Value {
        json!({
            "id": self.id.0,
            "tenant": self.tenant.map(|tenant| tenant.0),
            "slot": self.slot,
            "state": state.word(),
            "intent": self.intent,
            "awake_since": stamped(seen.and_then(|seen| seen.awake_since(self.id))),
            "last_active_at": stamped(self.last_active_at),
            "open_turn": self.open_turn,
            "failures": self.failures,
            "retry_at": stamped(self.retry_at),
            "image": self.image,
            "image_is_current": seen.and_then(|seen| seen.is_current(self)),
            "session_no": self.session_no,
        })
    }
}

/// Whoever was active last first.
pub async fn list(db: &PgPool, limit: i64) -> anyhow::Result<Vec<Listed>> {
    select(db, None, limit).await.context("list sandboxes")
}

/// By its own id or its person's.
pub async fn one(db: &PgPool, id: Uuid) -> anyhow::Result<Option<Listed>> {
    let found = select(db, Some(id), 1).await;
    Ok(found.context("look a sandbox up")?.pop())
}

async fn select(db: &PgPool, only: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select id as "id: SandboxId", slot, tenant_id as "tenant: TenantId", intent, image,
             spec_hash is not null as "started_once!", epoch, session_no,
             cursor is not null as "has_cursor!",
             exists (select from turn where turn.sandbox_id = sandbox.id
                     and turn.state = 'active') as "open_turn!",
             failures, created_at, booted_at, last_active_at, retry_at, snapshot_at, gone_at,
             wake_at, pause_at, stop_at
           from sandbox where $2::uuid is null or id = $2 or tenant_id = $2
           order by last_active_at desc nulls last, slot limit $1"#,
        limit,
        only,
    )
    .fetch_all(db)
    .await
}

/// How many there are in all.
pub async fn count(db: &PgPool) -> anyhow::Result<i64> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from sandbox"#);
    count.fetch_one(db).await.context("count sandboxes")
}
