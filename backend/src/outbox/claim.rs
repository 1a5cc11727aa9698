//! From `queued` to `sending`. Called by `worker/send`, in one short transaction before each POST.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use super::{Body, Post};
use crate::id::{LineId, OutboxId, TenantId, WorkerId};

/// WhatsApp may show two messages in the wrong order unless it has confirmed the first. Receipts may
/// fail to come, and an answer in several parts should not take a minute.
const NEXT_AFTER: TimeDelta = TimeDelta::seconds(2);
const HOUR: TimeDelta = TimeDelta::hours(1);

/// The row that may go out next, locked. `post.attempt` is the one that `start` will begin.
pub struct Next {
    pub post: Post,
    pub body: Option<Body>,
}

/// Locks the oldest row that may go out, for a worker whose lease lives. Rows that another
/// transaction has locked are passed over, so two workers never get the same one. A template passes what is
/// held, and what waits behind that: it is there to have it released, and nothing else. Nothing goes out to
/// the frozen or the suspended, and to those who opted out a farewell only.
pub async fn next(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    lines: &[LineId],
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Next>> {
    let found = sqlx::query!(
        r#"select o.id as "id: OutboxId", o.tenant_id as "tenant: TenantId", o.attempt, o.type as kind, o.body
           from outbox o join tenant t on t.id = o.tenant_id
           where o.state = 'queued' and o.run_after <= $1 and o.expires_at > $1
             and t.line_id = any($2) and t.status <> 'suspended'
             and (t.status <> 'opted_out' or o.class = 'farewell')
             and not exists (select from frozen_tenant f where f.tenant_id = t.id)
             and exists (select from worker w where w.id = $3 and w.lease_until > now())
             and not exists (
                 select from outbox e where e.tenant_id = o.tenant_id and e.seq < o.seq
                 and e.state in ('queued', 'sending', 'unknown', 'held')
                 and (o.type <> 'template' or e.state in ('sending', 'unknown')
                      or (e.state = 'queued' and not exists (
                          select from outbox h where h.tenant_id = o.tenant_id and h.seq < e.seq
                          and h.state = 'held'))))
             and not exists (
                 select from outbox e where e.tenant_id = o.tenant_id and e.seq < o.seq
                 and e.sent_at > $1 - interval '1 h'
                 and e.state = 'accepted' and e.rank = 0 and e.done_at > $4)
           order by o.seq limit 1 for update of o skip locked"#,
        now,
        lines as &[LineId],
        worker as WorkerId,
        now - NEXT_AFTER,
    )
    .fetch_optional(db)
    .await
    .context("look for the next message to send")?;
    Ok(found.map(|row| Next {
        post: Post {
            id: row.id,
            tenant: row.tenant,
            attempt: row.attempt + 1,
        },
        body: row.body.map(|sealed| Body {
            kind: row.kind,
            sealed,
        }),
    }))
}

/// When a person who got `per_hour` messages within the hour may get the next; `None` is now.
pub async fn over_limit(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    per_hour: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let sent_at = sqlx::query_scalar!(
        r#"select sent_at as "sent_at!" from outbox where tenant_id = $1 and sent_at > $2
           order by sent_at desc offset $3 limit 1"#,
        tenant as TenantId,
        now - HOUR,
        (per_hour - 1).max(0),
    )
    .fetch_optional(db)
    .await
    .context("count a person's messages")?;
    Ok(sent_at.map(|at| at + HOUR))
}

/// Puts a queued row back until `until`; no attempt is spent.
pub async fn postpone(
    db: impl PgExecutor<'_>,
    post: Post,
    until: DateTime<Utc>,
    why: &str,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update outbox set run_after = $4, error = $5
         where id = $1 and tenant_id = $2 and attempt = $3 - 1 and state = 'queued'",
        post.id as OutboxId,
        post.tenant as TenantId,
        post.attempt,
        until,
        why,
    )
    .execute(db)
    .await
    .context("postpone a message")?;
    Ok(())
}

/// Gives up on a queued row without a POST.
pub async fn discard(
    db: impl PgExecutor<'_>,
    post: Post,
    why: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update outbox set state = 'failed', error = $4, done_at = $5
         where id = $1 and tenant_id = $2 and attempt = $3 - 1 and state = 'queued'",
        post.id as OutboxId,
        post.tenant as TenantId,
        post.attempt,
        why,
        now,
    )
    .execute(db)
    .await
    .context("discard a message")?;
    Ok(())
}

/// Marks the row that `next` locked as being sent. To be committed before the POST.
pub async fn start(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    post: Post,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let started = sqlx::query!(
        "update outbox set state = 'sending', attempt = $3, worker_id = $4, sent_at = $5
         where id = $1 and tenant_id = $2 and attempt = $3 - 1 and state = 'queued'",
        post.id as OutboxId,
        post.tenant as TenantId,
        post.attempt,
        worker as WorkerId,
        now,
    )
    .execute(db)
    .await
    .context("mark a message as being sent")?;
    anyhow::ensure!(
        started.rows_affected() == 1,
        "start a message that was locked"
    );
    Ok(())
}
