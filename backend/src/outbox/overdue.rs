//! Rows whose time has run out. Called by `worker/send`, once a second.
//!
//! Any worker may do this for all rows: each statement is a decision that holds whoever makes it.
//! Rows that somebody has locked are passed over; the next pass finds them.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use super::{HELD_FOR, Post, State};
use crate::{
    id::{LineId, OutboxId, TenantId},
    presence::{Asked, Stretch},
};

/// No POST of a living worker lasts this long (the client gives up after 30 s): we could not store
/// what became of it.
const MAX_SENDING: TimeDelta = TimeDelta::seconds(75);

/// Sends that nobody will finish any more, because the worker died or lost its database: they may
/// have been taken.
pub async fn abandon(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<Vec<Post>> {
    sqlx::query_as!(
        Post,
        r#"update outbox set state = 'unknown', error = 'abandoned'
           where id in (
               select o.id from outbox o
               where o.state = 'sending' and (o.sent_at <= $1 or not exists (
                   select from worker w where w.id = o.worker_id and w.lease_until > now()))
               for update skip locked)
           returning id as "id: OutboxId", tenant_id as "tenant: TenantId", attempt"#,
        now - MAX_SENDING,
    )
    .fetch_all(db)
    .await
    .context("give up sends of dead workers")
}

/// How receipts would have reached us, and of which lines' sends.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// Brought without a gap for this time, to these lines.
    Brought(Stretch, &'a [LineId]),
    /// Asked for, of this line.
    Asked(LineId, Asked),
}

/// Rows that stayed unknown through `wait` in which a receipt would have reached us and been read:
/// queued for one more POST, or failed if this was that POST. A receipt that comes later still
/// corrects it.
///
/// `read_until`: every receipt that arrived before has been recorded.
pub async fn resolve_unknown(
    db: impl PgExecutor<'_>,
    heard: Heard<'_>,
    read_until: DateTime<Utc>,
    wait: Duration,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<(Post, State)>> {
    // What was asked for is all there is, whenever it came: only who was not asked about has to wait.
    let (since, until, lines) = match &heard {
        Heard::Brought(stretch, lines) => (stretch.since, stretch.until, *lines),
        Heard::Asked(line, asked) => (asked.from, asked.at, std::slice::from_ref(line)),
    };
    let (from, to) = match heard {
        Heard::Brought(..) => (None, None),
        Heard::Asked(_, asked) => (Some(asked.from), Some(asked.to)),
    };
    let resolved = sqlx::query!(
        r#"update outbox set resent = true, run_after = $1,
               state = case when resent then 'failed' else 'queued' end,
               done_at = case when resent then $1 end
           where id in (
               select o.id from outbox o
               where o.state = 'unknown' and o.expires_at > $1
                 and greatest(o.sent_at, $2) + $4 * interval '1 s' <= $3
                 and o.sent_at between coalesce($5, '-infinity'::timestamptz)
                                   and coalesce($6, 'infinity'::timestamptz)
                 and exists (select from tenant t
                             where t.id = o.tenant_id and t.line_id = any($7))
               for update skip locked)
           returning id as "id: OutboxId", tenant_id as "tenant: TenantId", attempt,
                     state as "state: State""#,
        now,
        since,
        until.min(read_until),
        wait.as_secs_f64(),
        from,
        to,
        lines as &[LineId],
    )
    .fetch_all(db)
    .await
    .context("decide about unclear sends")?;
    Ok(resolved
        .into_iter()
        .map(|row| {
            (
                Post {
                    id: row.id,
                    tenant: row.tenant,
                    attempt: row.attempt,
                },
                row.state,
            )
        })
        .collect())
}

/// When the oldest send of a line began of which we do not know what became of it.
pub async fn oldest_unclear(
    db: impl PgExecutor<'_>,
    line: LineId,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "select min(o.sent_at) from outbox o join tenant t on t.id = o.tenant_id
         where o.state in ('sending', 'unknown') and t.line_id = $1",
        line as LineId,
    )
    .fetch_one(db)
    .await
    .context("look for unclear sends")
}

/// What was not sent in time is held until the person writes; what was held or unknown all the
/// while has failed, and so has a template, which is not for somebody who writes. Not while the person is
/// frozen: that is no fault of the message.
pub async fn expire(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<(Post, State)>> {
    let expired = sqlx::query!(
        r#"update outbox set error = 'expired',
               state = case when state = 'queued' and type <> 'template' then 'held' else 'failed' end,
               expires_at = case when state = 'queued' and type <> 'template' then $2 else expires_at end,
               done_at = case when state = 'queued' and type <> 'template' then null else $1 end
           where id in (
               select o.id from outbox o
               where o.state in ('queued', 'held', 'unknown') and o.expires_at <= $1
                 and not exists (select from frozen_tenant f where f.tenant_id = o.tenant_id)
               for update skip locked)
           returning id as "id: OutboxId", tenant_id as "tenant: TenantId", attempt,
                     state as "state: State""#,
        now,
        now + HELD_FOR,
    )
    .fetch_all(db)
    .await
    .context("expire messages")?;
    Ok(expired
        .into_iter()
        .map(|row| {
            (
                Post {
                    id: row.id,
                    tenant: row.tenant,
                    attempt: row.attempt,
                },
                row.state,
            )
        })
        .collect())
}

/// What came up for somebody who wants to hear nothing more: a send that failed since they said so, a
/// late answer. It is given up, so that it does not come when they have us speak again.
pub async fn silence(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let silenced = sqlx::query!(
        "update outbox set state = 'failed', error = 'opted_out', done_at = $1
         where id in (
             select o.id from outbox o join tenant t on t.id = o.tenant_id
             where o.state in ('queued', 'held', 'unknown') and o.class <> 'farewell'
               and t.status = 'opted_out'
             for update of o skip locked)",
        now,
    )
    .execute(db)
    .await
    .context("silence messages to people who opted out")?;
    Ok(silenced.rows_affected())
}

/// After a thaw: what is held for the person to write has its full time again, except for those who
/// are still frozen.
pub async fn hold_anew(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let held = sqlx::query!(
        "update outbox set expires_at = greatest(expires_at, $1)
         where state = 'held'
           and not exists (select from frozen_tenant f where f.tenant_id = outbox.tenant_id)",
        now + HELD_FOR,
    )
    .execute(db)
    .await
    .context("hold messages anew")?;
    Ok(held.rows_affected())
}
