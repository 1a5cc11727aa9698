//! Read receipt and "typing…" while the assistant works.
//!
//! WhatsApp ends the indicator at our next message or after 25 s, so it is renewed before that for
//! as long as the caller waits, and ends by itself on every path once the caller is done.

use std::{convert::Infallible, sync::Arc, time::Duration};

use sqlx::PgPool;

use crate::{
    freeze, id::TenantId, line::Lines, seal::Opener, tenant::address, whatsapp::client::Client,
};

/// Below the 25 s after which WhatsApp ends the indicator (Meta docs: typing indicators).
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// What showing the indicator needs.
#[derive(Clone)]
pub struct Typing {
    pub db: PgPool,
    pub opener: Arc<Opener>,
    pub lines: Lines,
    pub client: Client,
}

impl Typing {
    /// Shows that `wamid` was read and is being answered, until dropped. A failure is no reason
    /// to keep anyone waiting: it is counted and tried again with the next renewal.
    pub async fn keep(&self, tenant: TenantId, wamid: Option<&str>) -> Infallible {
        let Some(wamid) = wamid else {
            return std::future::pending().await;
        };
        loop {
            if let Err(error) = self.show(tenant, wamid).await {
                metrics::counter!("clawkaka_typing_errors_total").increment(1);
                tracing::debug!("failed to show that we are typing: {error:#}");
            }
            tokio::time::sleep(RENEW_EVERY).await;
        }
    }

    async fn show(&self, tenant: TenantId, wamid: &str) -> anyhow::Result<()> {
        let mut db = self.db.acquire().await?;
        if freeze::is_frozen(&mut *db, tenant).await? {
            return Ok(());
        }
        let Some((line, _)) = address::recipient(&mut db, &self.opener, tenant).await? else {
            return Ok(());
        };
        drop(db);
        let Some(line) = self.lines.get(line) else {
            return Ok(());
        };
        self.client.mark_read(line.sender(), wamid, true).await?;
        Ok(())
    }
}
