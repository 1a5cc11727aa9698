//! Table `outbox`: every message to a person, one row per WhatsApp message.
//!
//! `deliver` enqueues, `worker/send` claims and reports the result, `receipt` says what WhatsApp told
//! later, `overdue` deals with rows whose time has run out. Rows of a person go out in the order of `seq`:
//! none is claimed while an earlier one is open. `sending` is committed before the POST, so that a
//! crash leaves a trace. Bad news is believed only from the holder of the claim, by
//! `(worker_id, attempt)`; good news from anybody, for a message that was taken was taken.
//! The tables `tenant`, `frozen` and `worker` are read here, never written.

pub mod claim;
pub mod overdue;
pub mod result;
pub mod verdict;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::{
    id::{OutboxId, TenantId, TurnId},
    seal::{KEY_ID, Sealer},
};

/// A free text is taken within 24 hours of the person's last message; later it would be refused.
const FRESH_FOR: TimeDelta = TimeDelta::hours(23);
/// How long a message waits for the person to write again: as long as we keep bodies.
const HELD_FOR: TimeDelta = TimeDelta::days(7);

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
}

/// A message to be queued.
pub struct Draft {
    /// Transcript id and part, or a command's key: the same key is never queued twice.
    pub key: String,
    pub class: Class,
    /// At most `whatsapp::split::MAX_TEXT_CHARS`.
    pub text: String,
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
             values ($1, $2, $3, $4, $5, 'text', $6, $7, $8, $8, $9)
             on conflict on constraint outbox_once do nothing",
            OutboxId::new() as OutboxId,
            tenant as TenantId,
            turn as Option<TurnId>,
            draft.key,
            draft.class as Class,
            sealer.seal(draft.text.as_bytes()),
            KEY_ID,
            now,
            now + FRESH_FOR,
        )
        .execute(&mut *db)
        .await
        .context("queue a message")?;
        new += queued.rows_affected();
    }
    Ok(new)
}

/// Leaves out what was queued before.
pub async fn without_known(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    mut drafts: Vec<Draft>,
) -> anyhow::Result<Vec<Draft>> {
    let keys: Vec<_> = drafts.iter().map(|draft| draft.key.clone()).collect();
    let known = sqlx::query_scalar!(
        "select key from outbox where tenant_id = $1 and key = any($2)",
        tenant as TenantId,
        &keys,
    )
    .fetch_all(db)
    .await
    .context("look which messages are queued already")?;
    drafts.retain(|draft| !known.contains(&draft.key));
    Ok(drafts)
}

/// The person wrote, so the window is open: what was held goes out, and what is queued stays fresh.
/// Call it after `tenant.last_inbound_at` is set, in the same transaction.
pub async fn release_held(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let released = sqlx::query!(
        "update outbox set state = 'queued', expires_at = $3,
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
