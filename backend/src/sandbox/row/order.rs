//! What an operator orders of one sandbox now: a time in its row, which the worker looks at. Of
//! several orders and of what its person does the latest counts.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::SandboxId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Wake,
    Pause,
    Stop,
}

/// False when there is no such sandbox any more.
pub async fn give(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    order: Order,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let done = match order {
        Order::Wake => {
            let query = sqlx::query!(
                "update sandbox set intent = 'auto', wake_at = $2 where id = $1 and intent <> 'gone'",
                id.0,
                now,
            );
            query.execute(db).await
        }
        Order::Pause => {
            let query = sqlx::query!(
                "update sandbox set pause_at = $2 where id = $1 and intent <> 'gone'",
                id.0,
                now,
            );
            query.execute(db).await
        }
        Order::Stop => {
            let query = sqlx::query!(
                "update sandbox set stop_at = $2 where id = $1 and intent <> 'gone'",
                id.0,
                now,
            );
            query.execute(db).await
        }
    };
    let done = done.context("order something of a sandbox")?;
    Ok(done.rows_affected() == 1)
}
