//! How much somebody wrote lately, for the limits. Called by `worker/route`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::{InboxId, TenantId};

/// Of messages that were not left out already.
pub struct Recent {
    /// Written, and come, within a minute of this one.
    pub last_minute: i64,
    pub last_day: i64,
    pub waiting: i64,
}

/// What an outage held up comes all at once, and was not written at once: of the last minute counts what
/// the provider says was written within a minute of `message`. It is believed up to its arrival, and back
/// to the week for which Meta repeats webhooks and polling reaches: other times count as the nearest of
/// these, so that made-up ones are all the same. Days and what waits count by arrival.
pub async fn recent(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    message: InboxId,
    now: DateTime<Utc>,
) -> anyhow::Result<Recent> {
    let recent = sqlx::query_as!(
        Recent,
        r#"with written as (
             select id, tenant_id, kind, outcome, received_at, done_at, turn_id,
                    greatest(least(provider_at, received_at), received_at - interval '7 days') as at
             from inbox
             where id = $3 or (tenant_id = $1 and received_at > $2::timestamptz - interval '1 day')
         )
         select
             count(*) filter (where i.received_at > $2::timestamptz - interval '1 minute'
                 and i.at > this.at - interval '1 minute'
                 and i.at < this.at + interval '1 minute') as "last_minute!",
             count(*) as "last_day!",
             count(*) filter (where i.done_at is null and i.turn_id is null) as "waiting!"
         from written i join written this on this.id = $3
         where i.tenant_id = $1 and i.id <> $3 and i.kind = 'message'
           and i.outcome is distinct from 'over_limit'"#,
        tenant as TenantId,
        now,
        message as InboxId,
    )
    .fetch_one(db)
    .await?;
    Ok(recent)
}
