//! What the tables know of a message. Reads only, across the tables of all stations.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    freeze::{self, Freeze, Scope},
    id::{InboxId, LineId, OutboxId, SandboxId, TenantId, TurnId},
};

/// All that belongs to one message, as far as it has come.
pub struct Seen {
    /// The messages that came in: all of a turn, or the one asked about.
    pub received: Vec<Received>,
    pub person: Option<Person>,
    pub turn: Option<Turn>,
    pub sandbox: Option<Sandbox>,
    pub answers: Vec<Answer>,
    /// The answer that was asked about; else all are meant.
    pub about: Option<OutboxId>,
    pub worker_is_alive: bool,
}

pub struct Received {
    pub id: InboxId,
    pub line: Option<LineId>,
    pub kind: String,
    pub provider_id: String,
    pub provider_at: Option<DateTime<Utc>>,
    pub received_at: DateTime<Utc>,
    pub run_after: DateTime<Utc>,
    pub tenant: Option<TenantId>,
    pub turn: Option<TurnId>,
    pub done_at: Option<DateTime<Utc>>,
    pub outcome: Option<String>,
}

pub struct Person {
    pub id: TenantId,
    pub status: String,
    pub last_inbound_at: Option<DateTime<Utc>>,
    pub line_blocked_until: Option<DateTime<Utc>>,
    pub line_blocked_reason: Option<String>,
    pub frozen: Option<Freeze>,
    /// An earlier turn that a new message waits for.
    pub running: Option<TurnId>,
}

pub struct Turn {
    pub id: TurnId,
    pub tenant: TenantId,
    pub sandbox: SandboxId,
    pub session: Option<String>,
    pub trigger: String,
    pub state: String,
    pub attempt: i32,
    pub claims: i32,
    pub created_at: DateTime<Utc>,
    pub submitted_at: Option<DateTime<Utc>>,
    pub deadline_at: DateTime<Utc>,
    pub stop_asked_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
    pub outcome: Option<String>,
}

pub struct Sandbox {
    pub id: SandboxId,
    pub slot: i32,
    pub intent: String,
    pub failures: i32,
    pub retry_at: Option<DateTime<Utc>>,
}

pub struct Answer {
    pub id: OutboxId,
    pub tenant: TenantId,
    pub turn: Option<TurnId>,
    pub class: String,
    pub state: String,
    pub attempt: i32,
    pub resent: bool,
    pub created_at: DateTime<Utc>,
    pub run_after: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
    pub expires_at: DateTime<Utc>,
    pub rank: i16,
    pub wamid: Option<String>,
    pub error: Option<String>,
    /// An earlier message to the same person that is not out yet.
    pub behind: Option<OutboxId>,
    pub receipts: Vec<Receipt>,
}

pub struct Receipt {
    pub outbox: Option<OutboxId>,
    pub status: String,
    pub at: Option<DateTime<Utc>>,
    pub error: Option<String>,
}

/// `None` when nothing has this id.
pub async fn look(db: &PgPool, id: &str) -> anyhow::Result<Option<Seen>> {
    let mut db = db.acquire().await.context("get a connection")?;
    let uuid = id.parse::<Uuid>().ok();
    let mut received = match uuid {
        Some(uuid) => inbox(&mut db, Some(uuid), None, None).await?,
        None => inbox(&mut db, None, Some(id), None).await?,
    };
    let mut about = None;
    let mut answers = Vec::new();
    if received.is_empty() {
        answers = outbox(&mut db, uuid, uuid.is_none().then_some(id), None).await?;
        about = answers.first().map(|answer| answer.id);
    }
    let of_row = received.first().and_then(|row| row.turn);
    let of_answer = answers.first().and_then(|answer| answer.turn);
    let turn_id = of_row.or(of_answer).or(uuid.map(TurnId));
    let turn = match turn_id {
        Some(id) => turn(&mut db, id).await?,
        None => None,
    };
    if let Some(turn) = &turn {
        received = inbox(&mut db, None, None, Some(turn.id)).await?;
        answers = outbox(&mut db, None, None, Some(turn.id)).await?;
    }
    if received.is_empty() && answers.is_empty() && turn.is_none() {
        return Ok(None);
    }
    let tenant = turn.as_ref().map(|turn| turn.tenant);
    let tenant = tenant.or_else(|| received.first().and_then(|row| row.tenant));
    let tenant = tenant.or_else(|| answers.first().map(|answer| answer.tenant));
    let person = match tenant {
        Some(tenant) => person(&mut db, tenant).await?,
        None => None,
    };
    let sandbox = match tenant {
        Some(tenant) => sandbox(&mut db, tenant, turn.as_ref().map(|turn| turn.sandbox)).await?,
        None => None,
    };
    receipts(&mut db, &mut answers).await?;
    let worker_is_alive = !crate::lease::live(&mut *db).await?.is_empty();
    Ok(Some(Seen {
        received,
        person,
        turn,
        sandbox,
        answers,
        about,
        worker_is_alive,
    }))
}

async fn inbox(
    db: &mut PgConnection,
    id: Option<Uuid>,
    wamid: Option<&str>,
    turn: Option<TurnId>,
) -> anyhow::Result<Vec<Received>> {
    sqlx::query_as!(
        Received,
        r#"select id as "id: InboxId", line_id as "line: LineId", kind, provider_id, provider_at,
             received_at, run_after, tenant_id as "tenant: TenantId", turn_id as "turn: TurnId",
             done_at, outcome
           from inbox
           where id = $1 or turn_id = $3
              or (provider_id = $2 and kind in ('message', 'system', 'reminder', 'heartbeat', 'unknown'))
           order by id"#,
        id,
        wamid,
        turn as Option<TurnId>,
    )
    .fetch_all(db)
    .await
    .context("look in the inbox")
}

async fn turn(db: &mut PgConnection, id: TurnId) -> anyhow::Result<Option<Turn>> {
    sqlx::query_as!(
        Turn,
        r#"select id as "id: TurnId", tenant_id as "tenant: TenantId",
             sandbox_id as "sandbox: SandboxId", session, trigger, state, attempt, claims,
             created_at, submitted_at, deadline_at, stop_asked_at, done_at, outcome
           from turn where id = $1"#,
        id as TurnId,
    )
    .fetch_optional(db)
    .await
    .context("look for the turn")
}

async fn outbox(
    db: &mut PgConnection,
    id: Option<Uuid>,
    wamid: Option<&str>,
    turn: Option<TurnId>,
) -> anyhow::Result<Vec<Answer>> {
    let rows = sqlx::query!(
        r#"select o.id as "id: OutboxId", o.tenant_id as "tenant: TenantId",
             o.turn_id as "turn: TurnId", o.class, o.state, o.attempt, o.resent, o.created_at,
             o.run_after, o.sent_at, o.done_at, o.expires_at, o.rank, o.wamid, o.error,
             (select e.id from outbox e where e.tenant_id = o.tenant_id and e.seq < o.seq
              and e.state in ('queued', 'sending', 'unknown', 'held')
              order by e.seq limit 1) as "behind: OutboxId"
           from outbox o
           where o.id = $1 or o.turn_id = $3 or o.wamid = $2
              or o.id = (select outbox_id from receipt where wamid = $2
                         and outbox_id is not null limit 1)
           order by o.seq"#,
        id,
        wamid,
        turn as Option<TurnId>,
    )
    .fetch_all(db)
    .await
    .context("look in the outbox")?;
    Ok(rows
        .into_iter()
        .map(|row| Answer {
            id: row.id,
            tenant: row.tenant,
            turn: row.turn,
            class: row.class,
            state: row.state,
            attempt: row.attempt,
            resent: row.resent,
            created_at: row.created_at,
            run_after: row.run_after,
            sent_at: row.sent_at,
            done_at: row.done_at,
            expires_at: row.expires_at,
            rank: row.rank,
            wamid: row.wamid,
            error: row.error,
            behind: row.behind,
            receipts: Vec::new(),
        })
        .collect())
}

async fn receipts(db: &mut PgConnection, answers: &mut [Answer]) -> anyhow::Result<()> {
    let ids: Vec<_> = answers.iter().map(|answer| answer.id).collect();
    let found = sqlx::query_as!(
        Receipt,
        r#"select outbox_id as "outbox: OutboxId", status, at, error from receipt
           where outbox_id = any($1) order by at nulls first, status"#,
        &ids as &[OutboxId],
    )
    .fetch_all(db)
    .await
    .context("look for receipts")?;
    for receipt in found {
        let owner = answers
            .iter_mut()
            .find(|answer| Some(answer.id) == receipt.outbox);
        if let Some(answer) = owner {
            answer.receipts.push(receipt);
        }
    }
    Ok(())
}

async fn person(db: &mut PgConnection, id: TenantId) -> anyhow::Result<Option<Person>> {
    let row = sqlx::query!(
        r#"select t.status, t.line_id as "line: LineId", t.last_inbound_at,
             case when l.blocked_until is not null
                  then least(l.blocked_until, timestamptz '9999-01-01Z') end as blocked_until,
             l.blocked_reason,
             (select id from turn where tenant_id = t.id and state = 'active') as "running: TurnId"
           from tenant t join line l on l.id = t.line_id where t.id = $1"#,
        id as TenantId,
    )
    .fetch_optional(&mut *db)
    .await
    .context("look for the person")?;
    let Some(row) = row else { return Ok(None) };
    let frozen = freeze::list(db)
        .await?
        .into_iter()
        .find(|one| match one.scope {
            Scope::Everything => true,
            Scope::Line(line) => line == row.line,
            Scope::Tenant(tenant) => tenant == id,
        });
    Ok(Some(Person {
        id,
        status: row.status,
        last_inbound_at: row.last_inbound_at,
        line_blocked_until: row.blocked_until,
        line_blocked_reason: row.blocked_reason,
        frozen,
        running: row.running,
    }))
}

async fn sandbox(
    db: &mut PgConnection,
    tenant: TenantId,
    of_turn: Option<SandboxId>,
) -> anyhow::Result<Option<Sandbox>> {
    sqlx::query_as!(
        Sandbox,
        r#"select id as "id: SandboxId", slot, intent, failures, retry_at from sandbox
           where id = $2 or ($2::uuid is null and tenant_id = $1)"#,
        tenant as TenantId,
        of_turn as Option<SandboxId>,
    )
    .fetch_optional(db)
    .await
    .context("look for the sandbox")
}
