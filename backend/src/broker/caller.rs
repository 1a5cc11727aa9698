//! Who is calling: the token must be a sandbox's and the address that sandbox's own.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use sqlx::PgExecutor;

use crate::{
    id::{SandboxId, TenantId},
    sandbox::row,
};

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
) -> anyhow::Result<Option<Caller>> {
    let Some(token) = bearer(headers) else {
        return Ok(None);
    };
    let Some((sandbox, tenant, slot)) =
        row::by_broker_token(db, &Sha256::digest(token).into()).await?
    else {
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
