//! How much waits in the inbox, and since when. Called by `worker/measure`.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// What waits for us here, and since when the oldest of it: not what waits for its person to agree.
pub struct Queues {
    pub unrouted: i64,
    pub unrouted_since: Option<DateTime<Utc>>,
    pub waiting: i64,
    pub waiting_since: Option<DateTime<Utc>>,
}

/// For the figures. Looks at open rows only, however many are done.
pub async fn queues(db: impl PgExecutor<'_>) -> anyhow::Result<Queues> {
    sqlx::query_as!(
        Queues,
        r#"select unrouted.n as "unrouted!", unrouted.since as "unrouted_since",
                  waiting.n as "waiting!", waiting.since as "waiting_since"
           from (select count(*) as n, min(received_at) as since from inbox
                 where done_at is null and tenant_id is null) as unrouted,
                (select count(*) as n, min(received_at) as since
                 from inbox join tenant on tenant.id = tenant_id
                 where done_at is null and turn_id is null and status <> 'undecided') as waiting"#,
    )
    .fetch_one(db)
    .await
    .context("measure the inbox")
}
