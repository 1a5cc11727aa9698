//! What is due without a message to send: dead claims, unclear sends, expired rows, and a word to those for
//! whom something is held.

use super::{Sending, count};
use crate::{
    outbox::{
        State,
        overdue::{self, Heard},
    },
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
        self.nudge().await?;
        // In this order: a receipt that arrives after the first look cannot count as read by the second.
        let polled = self.lines.polled();
        // Of a line that was removed nothing is heard either way.
        let mut others = self.lines.ids();
        others.retain(|line| !polled.contains(line));
        let brought = presence::stretch(&self.db).await?;
        let brought = brought.map(|stretch| Heard::Brought(stretch, &others));
        let asked = polled.iter().filter_map(|line| {
            let asked = self.receipts.asked(*line)?;
            Some(Heard::Asked(*line, asked))
        });
        let heard: Vec<_> = brought.into_iter().chain(asked).collect();
        let read_until = receipt::read_until(&self.db, now).await?;
        let mut resolved = Vec::new();
        for heard in heard {
            let some =
                overdue::resolve_unknown(&self.db, heard, read_until, self.unknown_wait, now)
                    .await?;
            resolved.extend(some);
        }
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
