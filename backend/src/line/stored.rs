//! Lines that operators added, with their secrets, sealed; and how every process learns of a change.
//!
//! The access token is sealed to the worker, what verifies webhooks to web. Whoever changes a line rings
//! [`wake::tell_of_lines`] with the commit; [`follow`] hears it, and looks by itself should a ring get lost. So
//! no webhook and no message costs a look.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};
use tokio::sync::Notify;

use super::Delivery;
use crate::{id::LineId, lifecycle::Shutdown, seal::KEY_ID, wake, whatsapp::provider::Provider};

/// Of one deployment. A webhook may be from any of them: each costs web a hash over every body,
/// forged ones too. With this many and 3 MB that is a tenth of a second, and a quarter on a processor
/// that cannot hash by itself (at 1.8 and 0.6 GB/s, as measured with openssl).
pub const MAX_LINES: i64 = 50;
/// A webhook that is refused is posted again, by Meta for 7 days.
const ANSWERED_FOR: TimeDelta = TimeDelta::days(8);
/// How long a ring that got lost delays a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A line with its secrets, sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    pub id: LineId,
    pub provider: Provider,
    pub phone_number_id: String,
    pub access_token: Option<Vec<u8>>,
    /// None where no webhook is posted.
    pub webhook_secret: Option<Vec<u8>>,
    pub verification_token: Option<Vec<u8>>,
    pub delivery: Delivery,
    /// Only its webhooks are still answered, so that they are not repeated; nobody is woken.
    pub removed: bool,
}

/// What an operator adds, sealed.
pub struct Added<'a> {
    pub provider: Provider,
    pub phone_number_id: &'a str,
    pub access_token: Vec<u8>,
    /// One that is polled needs none.
    pub webhook_secret: Option<Vec<u8>>,
    /// Of Meta's.
    pub verification_token: Option<Vec<u8>>,
    pub delivery: Delivery,
}

/// A line as a list of them shows it.
pub struct Listed {
    pub id: LineId,
    pub provider: Provider,
    pub phone_number_id: String,
    pub people: i64,
    pub blocked_until: Option<DateTime<Utc>>,
    pub blocked_reason: Option<String>,
    pub removed_at: Option<DateTime<Utc>>,
    /// Of one that was added.
    pub delivery: Delivery,
    pub polled_at: Option<DateTime<Utc>>,
    /// Whether it is in the environment of whoever started last.
    pub is_named: bool,
}

/// All that operators added, and for [`ANSWERED_FOR`] those that they removed.
pub async fn all(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<Stored>> {
    sqlx::query_as!(
        Stored,
        r#"select id as "id: LineId", provider as "provider: Provider", phone_number_id,
                  access_token, webhook_secret, verification_token,
                  delivery as "delivery: Delivery", removed_at is not null as "removed!"
           from line where source = 'db' and (removed_at is null or webhook_secret is not null)
           order by removed_at nulls first, id limit $1"#,
        MAX_LINES,
    )
    .fetch_all(db)
    .await
    .context("read the lines that were added")
}

/// Forgets what verifies the webhooks of lines that were removed long enough ago.
pub async fn forget(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let forgotten = sqlx::query!(
        "update line set webhook_secret = null, verification_token = null
         where removed_at <= $1 and webhook_secret is not null",
        now - ANSWERED_FOR,
    )
    .execute(db)
    .await
    .context("forget the secrets of removed lines")?;
    Ok(forgotten.rows_affected())
}

/// Adds a line, or gives one that is there other secrets. Either opens it: what blocked it was
/// about the old ones.
pub async fn add(db: impl PgExecutor<'_>, line: Added<'_>) -> anyhow::Result<LineId> {
    sqlx::query_scalar!(
        r#"insert into line (id, provider, phone_number_id, source, key_id,
                             access_token, webhook_secret, verification_token, delivery)
           values ($1, $2, $3, 'db', $4, $5, $6, $7, $8)
           on conflict (provider, phone_number_id)
           do update set source = 'db', key_id = $4, access_token = $5, webhook_secret = $6,
                         verification_token = $7, delivery = $8, removed_at = null, blocked_until = null,
                         blocked_reason = null
           returning id as "id: LineId""#,
        LineId::new() as LineId,
        line.provider as Provider,
        line.phone_number_id,
        KEY_ID,
        line.access_token,
        line.webhook_secret,
        line.verification_token,
        line.delivery as Delivery,
    )
    .fetch_one(db)
    .await
    .context("add a line")
}

/// Takes away what it sends with; what verifies its webhooks goes later. The row stays, and so do its
/// people. Where it is added again, polling begins with that: what came meanwhile wakes nobody.
pub async fn remove(
    db: impl PgExecutor<'_>,
    line: LineId,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let removed = sqlx::query!(
        "update line set removed_at = $2, access_token = null, poll_cursor = null, polled_at = null
         where id = $1 and removed_at is null",
        line as LineId,
        now,
    )
    .execute(db)
    .await
    .context("remove a line")?;
    Ok(removed.rows_affected() == 1)
}

/// Only one operator changes lines at a time, for the rest of the transaction; with the commit every
/// process learns of it.
pub async fn change(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('line'))")
        .execute(&mut *conn)
        .await
        .context("change the lines")?;
    wake::tell_of_lines(conn).await
}

pub async fn list(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select l.id as "id: LineId", l.provider as "provider: Provider", l.phone_number_id,
                  l.blocked_reason, l.removed_at, l.delivery as "delivery: Delivery", l.polled_at, l.source = 'env' as "is_named!",
                  case when l.blocked_until is not null
                       then least(l.blocked_until, timestamptz '9999-01-01Z') end as blocked_until,
                  (select count(*) from tenant t where t.line_id = l.id
                   and t.status not in ('erased', 'refused', 'undecided')) as "people!"
           from line l order by l.removed_at nulls first, l.id"#
    )
    .fetch_all(db)
    .await
    .context("list the lines")
}

/// Calls `apply` with all lines whenever one was added, changed or removed. Begins with what was
/// there when `known` was read.
pub async fn follow(
    db: PgPool,
    mut known: Vec<Stored>,
    bell: Arc<Notify>,
    shutdown: Shutdown,
    apply: impl Fn(&[Stored]) + Send + Sync,
) {
    loop {
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.stopping() => return,
        }
        match all(&db).await {
            Ok(lines) if lines != known => {
                tracing::info!(lines = lines.len(), "the lines have changed");
                apply(&lines);
                known = lines;
            }
            Ok(_) => {}
            // What was known goes on.
            Err(error) => tracing::warn!("failed to {error:#}"),
        }
    }
}
