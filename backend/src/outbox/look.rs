//! What became of a message that an operator queued, and what waits on a line.

use anyhow::Context;
use sqlx::PgExecutor;

use super::State;
use crate::id::{LineId, OutboxId, TenantId};

/// A row as a command follows it.
pub struct Queued {
    pub id: OutboxId,
    pub state: State,
    /// Sealed; cleared once it is old.
    pub body: Option<Vec<u8>>,
    pub error: Option<String>,
}

/// The message that was queued with this key, and its further parts (`<key>/1`, …), in order.
pub async fn by_key(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    key: &str,
) -> anyhow::Result<Vec<Queued>> {
    sqlx::query_as!(
        Queued,
        r#"select id as "id: OutboxId", state as "state: State", body, error from outbox
           where tenant_id = $1 and (key = $2 or starts_with(key, $2 || '/')) order by seq"#,
        tenant as TenantId,
        key,
    )
    .fetch_all(db)
    .await
    .context("look a message up by its key")
}

/// How many messages to the people of a line are not out yet.
pub async fn open_on(db: impl PgExecutor<'_>, line: LineId) -> anyhow::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "open!" from outbox o join tenant t on t.id = o.tenant_id
           where t.line_id = $1 and o.state in ('queued', 'sending', 'unknown', 'held')"#,
        line as LineId,
    )
    .fetch_one(db)
    .await
    .context("count what waits on a line")
}
