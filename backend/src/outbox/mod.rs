//! Table `outbox`: every message to a person, one row per WhatsApp message.
//!
//! `deliver` enqueues, `worker/send` claims and reports the result, `receipt` says what WhatsApp told
//! later, `overdue` deals with rows whose time has run out. Rows of a person go out in the order of `seq`:
//! none is claimed while an earlier one is open. `sending` is committed before the POST, so that a
//! crash leaves a trace. Bad news is believed only from the holder of the claim, by
//! `(worker_id, attempt)`; good news from anybody, for a message that was taken was taken.
//! The tables `tenant`, `frozen` and `worker` are read here, never written.

pub mod claim;
pub mod figures;
pub mod forget;
pub mod leave;
pub mod look;
pub mod nudge;
pub mod overdue;
pub mod result;
pub mod verdict;

use std::ops::Range;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::{
    id::{OutboxId, TenantId, TurnId},
    seal::{KEY_ID, Opener, Sealer},
    whatsapp::outgoing::Outgoing,
};

/// A free text is taken within 24 hours of the person's last message; later it would be refused.
const FRESH_FOR: TimeDelta = TimeDelta::hours(23);
/// How long a message waits for the person to write again: as long as we keep bodies.
const HELD_FOR: TimeDelta = TimeDelta::days(7);

/// The key of what a new person is told first of all.
pub const NOTICE: &str = "notice";

/// Enough for a day; an agent that got around the day's cap must not fill its own next question.
const MAX_UNASKED: i64 = 20;

/// Who speaks, and whether they were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Class {
    /// The agent, asked.
    Reply,
    /// The agent, unasked.
    Proactive,
    /// Ourselves.
    Ours,
    /// Ourselves, to somebody who leaves: the only thing that they still get.
    Farewell,
}

/// A message to be queued.
pub struct Draft {
    /// Transcript id and part, or a command's key: the same key is never queued twice.
    pub key: String,
    pub class: Class,
    pub message: Outgoing,
}

impl Draft {
    /// A sentence of ours.
    pub fn ours(key: impl Into<String>, text: &str) -> Self {
        Self {
            key: key.into(),
            class: Class::Ours,
            message: Outgoing::text(text),
        }
    }
}

/// A message as it is kept.
pub struct Body {
    pub kind: String,
    pub sealed: Vec<u8>,
}

impl Body {
    pub fn open(&self, opener: &Opener) -> anyhow::Result<Outgoing> {
        Outgoing::from_bytes(&self.kind, opener.open(&self.sealed)?)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    Queued,
    Sending,
    Unknown,
    Accepted,
    Held,
    Failed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }
}

/// One POST of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    pub id: OutboxId,
    pub tenant: TenantId,
    pub attempt: i32,
}

/// Queues messages in their order; those whose key is known already are left out. How many are new.
pub async fn enqueue(
    db: &mut PgConnection,
    sealer: &Sealer,
    tenant: TenantId,
    turn: Option<TurnId>,
    drafts: &[Draft],
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut new = 0;
    for draft in drafts {
        let queued = sqlx::query!(
            "insert into outbox (id, tenant_id, turn_id, key, class, type, body, key_id,
                                 run_after, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $10, $6, $7, $8, $8, $9)
             on conflict on constraint outbox_once do nothing",
            OutboxId::new() as OutboxId,
            tenant as TenantId,
            turn as Option<TurnId>,
            draft.key,
            draft.class as Class,
            sealer.seal(&draft.message.to_bytes()?),
            KEY_ID,
            now,
            now + FRESH_FOR,
            draft.message.kind(),
        )
        .execute(&mut *db)
        .await
        .context("queue a message")?;
        new += queued.rows_affected();
    }
    Ok(new)
}

/// What the agent said to a person of its own accord in this time, sealed, in order. What was
/// cleared or could not be sent is left out.
pub async fn unasked(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    during: Range<DateTime<Utc>>,
) -> anyhow::Result<Vec<Body>> {
    sqlx::query_as!(
        Body,
        r#"select type as kind, body as "sealed!" from outbox
         where tenant_id = $1 and class = 'proactive' and created_at >= $2 and created_at < $3
           and state <> 'failed' and body is not null
         order by seq limit $4"#,
        tenant as TenantId,
        during.start,
        during.end,
        MAX_UNASKED,
    )
    .fetch_all(db)
    .await
    .context("read what was said unasked")
}

/// A message to a person by WhatsApp's id of it, sealed; `None` too when it was cleared.
pub async fn by_wamid(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    wamid: &str,
) -> anyhow::Result<Option<Body>> {
    sqlx::query_as!(
        Body,
        r#"select type as kind, body as "sealed!" from outbox
           where tenant_id = $1 and wamid = $2 and body is not null"#,
        tenant as TenantId,
        wamid,
    )
    .fetch_optional(db)
    .await
    .context("find a message by WhatsApp's id")
}

/// How often the agent spoke to a person of its own accord since then.
pub async fn times_unasked(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    since: DateTime<Utc>,
) -> anyhow::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(distinct coalesce(turn_id, id)) as "times!" from outbox
         where tenant_id = $1 and class = 'proactive' and created_at > $2"#,
        tenant as TenantId,
        since,
    )
    .fetch_one(db)
    .await
    .context("count what was said unasked")
}

/// When the person last heard something of a turn, or was to.
pub async fn last_of_turn(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    turn: TurnId,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "select max(created_at) from outbox where tenant_id = $1 and turn_id = $2",
        tenant as TenantId,
        turn as TurnId,
    )
    .fetch_one(db)
    .await
    .context("look when a person last heard of a turn")
}

/// When a message with this key was queued for a person.
pub async fn queued_at(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    key: &str,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "select created_at from outbox where tenant_id = $1 and key = $2",
        tenant as TenantId,
        key,
    )
    .fetch_optional(db)
    .await
    .context("look when a message was queued")
}

/// Which of these were queued before.
pub async fn known(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    keys: &[String],
) -> anyhow::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select key from outbox where tenant_id = $1 and key = any($2)",
        tenant as TenantId,
        keys,
    )
    .fetch_all(db)
    .await
    .context("look which messages are queued already")
}

/// The person wrote, so the window is open: what was held goes out, and what is queued stays fresh. A template
/// that only says that something is held, and has not gone out yet, is not needed any more (`nudge`).
/// Call it after `tenant.last_inbound_at` is set, in the same transaction.
pub async fn release_held(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let released = sqlx::query!(
        "update outbox set state = case when starts_with(key, 'nudge/') then 'failed' else 'queued' end,
                           error = case when starts_with(key, 'nudge/') then 'not_needed' else error end,
                           done_at = case when starts_with(key, 'nudge/') then $2::timestamptz end,
                           expires_at = $3,
                           run_after = case state when 'held' then $2 else run_after end
         where tenant_id = $1 and state in ('held', 'queued')",
        tenant as TenantId,
        now,
        now + FRESH_FOR,
    )
    .execute(db)
    .await
    .context("release held messages")?;
    Ok(released.rows_affected())
}
