//! Reading what people wrote before.

use sqlx::PgExecutor;

use crate::id::{TenantId, TurnId};

/// Of what was only noted, a question is told at most so much.
const MAX_NOTED: i64 = 20;

/// A person's message by WhatsApp's id of it, sealed; `None` too when it was cleared.
pub async fn by_wamid(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    wamid: &str,
) -> anyhow::Result<Option<Vec<u8>>> {
    let body = sqlx::query_scalar!(
        "select i.body from inbox i join tenant t on t.id = $1 and t.line_id = i.line_id
         where i.kind = 'message' and i.provider_id = $2 and i.tenant_id = $1",
        tenant as TenantId,
        wamid,
    )
    .fetch_optional(db)
    .await?;
    Ok(body.flatten())
}

/// What a turn tells beside its question, sealed, in order of arrival.
pub async fn noted(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    turn: TurnId,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let bodies = sqlx::query_scalar!(
        "select body from inbox where tenant_id = $1 and turn_id = $2 and outcome = 'noted'
         order by id limit $3",
        tenant as TenantId,
        turn as TurnId,
        MAX_NOTED,
    )
    .fetch_all(db)
    .await?;
    Ok(bodies.into_iter().flatten().collect())
}
