//! A person asks that their turn ends. `worker/route` sets the mark; whoever holds the turn obeys it,
//! and until then nothing of the turn is stored any more ([`super::finish`]).

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{Trigger, Turn};
use crate::id::{TenantId, TurnId};

/// Marks the person's active turn, if it is of one of these kinds. False when there is none, or it is
/// marked already.
pub async fn ask(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    of: &[Trigger],
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let marked = sqlx::query!(
        "update turn set stop_asked_at = $2
         where tenant_id = $1 and state = 'active' and stop_asked_at is null and trigger = any($3)",
        tenant as TenantId,
        now,
        of as &[Trigger],
    )
    .execute(db)
    .await?;
    Ok(marked.rows_affected() == 1)
}

/// A turn that is to end, as it stands.
pub struct Asked {
    pub attempt: i32,
    /// The conversation in which the agent was asked, as far as it was noted.
    pub session: Option<String>,
}

/// Whether a turn is to end. `None`: not by a wish of its person, or it is over.
pub async fn asked(db: impl PgExecutor<'_>, turn: &Turn) -> anyhow::Result<Option<Asked>> {
    let asked = sqlx::query_as!(
        Asked,
        "select attempt, session from turn
         where id = $1 and tenant_id = $2 and state = 'active' and stop_asked_at is not null",
        turn.id as TurnId,
        turn.tenant as TenantId,
    )
    .fetch_optional(db)
    .await?;
    Ok(asked)
}
