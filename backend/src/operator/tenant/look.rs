//! What the tables say of people, without anything that names them. Reads only; no table is owned.

use anyhow::Context;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgExecutor;

use super::stamped;
use crate::id::{LineId, SandboxId, TenantId};

const DAY: TimeDelta = TimeDelta::days(1);

/// One person in a list.
pub struct Listed {
    pub id: TenantId,
    pub status: String,
    /// `None`: the default of the line.
    pub role: Option<String>,
    pub line: LineId,
    pub phone_number_id: String,
    pub time_zone: String,
    pub quiet_from: NaiveTime,
    pub quiet_to: NaiveTime,
    pub last_inbound_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub frozen: bool,
    /// Messages that wait for a turn.
    pub waiting: i64,
    /// Messages that a turn has taken and not finished.
    pub in_turn: i64,
    /// Answers that have not gone out yet.
    pub queued: i64,
    pub sandbox: Option<SandboxId>,
    pub slot: Option<i32>,
    pub intent: Option<String>,
    pub failures: i32,
    pub tokens_day: i64,
    /// Of speech that was put into words.
    pub seconds_day: i64,
}

impl Listed {
    pub fn quiet(&self) -> String {
        format!(
            "{}-{}",
            self.quiet_from.format("%H:%M"),
            self.quiet_to.format("%H:%M")
        )
    }

    pub fn json(&self) -> Value {
        let sandbox = self.sandbox.map(|id| {
            json!({ "id": id.0, "slot": self.slot, "intent": self.intent,
                    "failures": self.failures })
        });
        json!({
            "id": self.id.0,
            "status": self.status,
            "role": self.role,
            "frozen": self.frozen,
            "line": self.line.0,
            "phone_number_id": self.phone_number_id,
            "time_zone": self.time_zone,
            "quiet_from": self.quiet_from.format("%H:%M").to_string(),
            "quiet_to": self.quiet_to.format("%H:%M").to_string(),
            "created_at": stamped(Some(self.created_at)),
            "last_inbound_at": stamped(self.last_inbound_at),
            "waiting_messages": self.waiting,
            "messages_in_turn": self.in_turn,
            "queued_answers": self.queued,
            "tokens_24h": self.tokens_day,
            "voice_seconds_24h": self.seconds_day,
            "sandbox": sandbox,
        })
    }
}

/// The latest to write first.
pub async fn list(
    db: impl PgExecutor<'_>,
    limit: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<Listed>> {
    select(db, None, limit, now).await.context("list people")
}

pub async fn one(
    db: impl PgExecutor<'_>,
    id: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Listed>> {
    let found = select(db, Some(id), 1, now).await;
    Ok(found.context("look a person up")?.pop())
}

async fn select(
    db: impl PgExecutor<'_>,
    only: Option<TenantId>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select t.id as "id: TenantId", t.status, t.role, t.line_id as "line: LineId", l.phone_number_id,
             t.time_zone, t.quiet_from, t.quiet_to, t.last_inbound_at, t.created_at,
             exists (select from frozen_tenant f where f.tenant_id = t.id) as "frozen!",
             (select count(*) from inbox i where i.tenant_id = t.id and i.done_at is null
              and i.turn_id is null) as "waiting!",
             (select count(*) from inbox i where i.tenant_id = t.id and i.done_at is null
              and i.turn_id is not null) as "in_turn!",
             (select count(*) from outbox o where o.tenant_id = t.id
              and o.state in ('queued', 'sending', 'unknown', 'held')) as "queued!",
             s.id as "sandbox?: SandboxId", s.slot as "slot?", s.intent as "intent?",
             coalesce(s.failures, 0) as "failures!",
             (select coalesce(sum(u.tokens), 0)::bigint from usage u
              where u.tenant_id = t.id and u.at > $2) as "tokens_day!",
             (select coalesce(sum(u.seconds), 0)::bigint from usage u
              where u.tenant_id = t.id and u.at > $2) as "seconds_day!"
           from tenant t join line l on l.id = t.line_id
             left join sandbox s on s.tenant_id = t.id
           where $3::uuid is null or t.id = $3
           order by t.last_inbound_at desc nulls last, t.id desc limit $1"#,
        limit,
        now - DAY,
        only as Option<TenantId>,
    )
    .fetch_all(db)
    .await
}

/// What a person's row does not say by itself.
pub struct History {
    pub messages: i64,
    pub messages_day: i64,
    pub turns: i64,
    pub buried: i64,
    pub last_turn_at: Option<DateTime<Utc>>,
    pub running_turn: Option<uuid::Uuid>,
    pub sent: i64,
    pub held: i64,
    pub failed: i64,
    pub session_no: Option<i32>,
    pub retry_at: Option<DateTime<Utc>>,
}

pub async fn history(
    db: impl PgExecutor<'_>,
    id: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<History> {
    sqlx::query_as!(
        History,
        r#"select
             (select count(*) from inbox where tenant_id = $1 and kind = 'message') as "messages!",
             (select count(*) from inbox where tenant_id = $1 and kind = 'message'
              and received_at > $2) as "messages_day!",
             (select count(*) from turn where tenant_id = $1) as "turns!",
             (select count(*) from turn where tenant_id = $1 and state = 'buried') as "buried!",
             (select max(created_at) from turn where tenant_id = $1) as last_turn_at,
             (select id from turn where tenant_id = $1 and state = 'active') as running_turn,
             (select count(*) from outbox where tenant_id = $1 and state = 'accepted') as "sent!",
             (select count(*) from outbox where tenant_id = $1 and state = 'held') as "held!",
             (select count(*) from outbox where tenant_id = $1 and state = 'failed') as "failed!",
             (select session_no from sandbox where tenant_id = $1) as session_no,
             (select retry_at from sandbox where tenant_id = $1) as retry_at"#,
        id as TenantId,
        now - DAY,
    )
    .fetch_one(db)
    .await
    .context("read a person's history")
}
