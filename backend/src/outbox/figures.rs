//! What the outbox tells an operator: what is open, and how long people waited. Called by `worker/measure`.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::State;

/// The open rows of one state, and since when the oldest waits.
pub struct Open {
    pub state: State,
    pub rows: i64,
    pub since: DateTime<Utc>,
}

/// Looks at open rows only, however many are done. A state without rows is left out.
pub async fn open(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<Open>> {
    sqlx::query_as!(
        Open,
        r#"select state as "state: State", count(*) as "rows!", min(created_at) as "since!"
           from outbox where state in ('queued', 'sending', 'unknown', 'held') group by state"#,
    )
    .fetch_all(db)
    .await
    .context("measure the outbox")
}

/// Seconds from a person's first message of a turn, or from when they agreed to be answered, to its first
/// answer's acceptance, for the answers that were accepted after `from` and not after `to`, at most
/// `limit`.
pub async fn answer_times(
    db: impl PgExecutor<'_>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<Vec<f64>> {
    sqlx::query_scalar!(
        r#"select extract(epoch from o.done_at - asked.at)::float8 as "seconds!"
           from outbox o, lateral (
               select greatest(min(i.received_at), min(t.consent_at)) as at
               from inbox i join tenant t on t.id = i.tenant_id
               where i.turn_id = o.turn_id and i.kind = 'message') as asked
           where o.done_at is not null and o.done_at > $1 and o.done_at <= $2
             and o.state = 'accepted' and o.class = 'reply' and asked.at is not null
             and not exists (
                 select from outbox e
                 where e.turn_id = o.turn_id and e.class = 'reply' and e.seq < o.seq)
           order by o.done_at limit $3"#,
        from,
        to,
        limit,
    )
    .fetch_all(db)
    .await
    .context("measure how long answers took")
}
