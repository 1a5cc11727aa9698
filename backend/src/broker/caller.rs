//! Who is calling: the token must be a sandbox's and the address that sandbox's own.
//!
//! The two queries stand in for the owners of the tables `sandbox` and `turn`.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgExecutor;

use crate::id::{SandboxId, TenantId};

#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub sandbox: SandboxId,
    pub tenant: Option<TenantId>,
}

/// The caller, or `None` when anything about it does not fit.
pub async fn identify(
    db: impl PgExecutor<'_>,
    headers: &HeaderMap,
    peer: IpAddr,
    address_of: impl Fn(i32) -> Ipv4Addr,
) -> sqlx::Result<Option<Caller>> {
    let Some(token) = bearer(headers) else {
        return Ok(None);
    };
    let Some((sandbox, tenant, slot)) = by_broker_token(db, &Sha256::digest(token)).await? else {
        return Ok(None);
    };
    Ok((IpAddr::V4(address_of(slot)) == peer).then_some(Caller { sandbox, tenant }))
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers
        .get(header::AUTHORIZATION)?
        .as_bytes()
        .strip_prefix(b"Bearer ")
}

async fn by_broker_token(
    db: impl PgExecutor<'_>,
    hash: &[u8],
) -> sqlx::Result<Option<(SandboxId, Option<TenantId>, i32)>> {
    let row = sqlx::query!(
        "select id, tenant_id, slot from sandbox where broker_token_hash = $1 and gone_at is null",
        hash,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (SandboxId(row.id), row.tenant_id.map(TenantId), row.slot)))
}

/// When the tenant's active turn began.
pub async fn active_since(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "select created_at from turn where tenant_id = $1 and state = 'active'",
        tenant.0,
    )
    .fetch_optional(db)
    .await
}
