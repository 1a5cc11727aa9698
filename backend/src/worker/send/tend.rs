//! What is due without a message to send: dead claims, unclear sends, expired rows.

use super::{Sending, count};
use crate::{
    outbox::{State, overdue},
    presence, receipt,
};

impl Sending {
    pub(super) async fn tend(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        for post in overdue::abandon(&self.db, now).await? {
            count("unknown");
            tracing::warn!(tenant.id = %post.tenant, message.id = %post.id, post.attempt,
                "its sender died; waiting for a receipt");
        }
        for (post, state) in overdue::expire(&self.db, now).await? {
            count("expired");
            tracing::warn!(tenant.id = %post.tenant, message.id = %post.id, ?state,
                "a message expired");
        }
        for _ in 0..overdue::silence(&self.db, now).await? {
            count("opted_out");
        }
        // In this order: a receipt that arrives after the first look cannot count as read by the second.
        let Some(listening) = presence::stretch(&self.db).await? else {
            return Ok(());
        };
        let read_until = receipt::read_until(&self.db, now).await?;
        let resolved =
            overdue::resolve_unknown(&self.db, listening, read_until, self.unknown_wait, now)
                .await?;
        for (post, state) in resolved {
            if state == State::Queued {
                metrics::counter!("clawkaka_send_resent_total").increment(1);
                tracing::warn!(tenant.id = %post.tenant, message.id = %post.id, post.attempt,
                    "no receipt came; sending it once more");
            } else {
                count("failed");
                tracing::error!(tenant.id = %post.tenant, message.id = %post.id, post.attempt,
                    "no receipt came for the second send either; giving it up");
            }
        }
        Ok(())
    }
}
