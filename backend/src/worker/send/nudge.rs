//! A word of ours to people for whom something is held: the template that their line has for it. WhatsApp takes
//! nothing else after a day of silence; when they write, or tap its button, what is held goes out.

use super::Sending;
use crate::{
    line::policy,
    outbox::{self, nudge},
    tenant::window,
};

/// Looked at in one step.
const BATCH: i64 = 64;

impl Sending {
    pub(super) async fn nudge(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        for waiting in nudge::waiting(&self.db, &self.lines.ids(), now, BATCH).await? {
            let zone = window::zone(&waiting.time_zone);
            if window::is_quiet(now, zone, waiting.quiet_from, waiting.quiet_to) {
                continue;
            }
            let Some(line) = self.lines.get(waiting.line) else {
                continue;
            };
            // One line's policy that cannot be read must not stop the others.
            let templates = match policy::templates(&self.db, &line).await {
                Ok(templates) => templates,
                Err(error) => {
                    tracing::warn!(line.id = %line.id, "failed to {error:#}");
                    continue;
                }
            };
            let Some(template) = templates.in_language(&waiting.language) else {
                continue;
            };
            let draft = waiting.draft(template.name.clone(), template.language.clone());
            let (drafts, mut db) = ([draft], self.db.acquire().await?);
            let (to, sealer) = (waiting.tenant, &self.sealer);
            if outbox::enqueue(&mut db, sealer, to, None, &drafts, now).await? > 0 {
                metrics::counter!("clawkaka_templates_total").increment(1);
                tracing::info!(tenant.id = %waiting.tenant, "something is held; a template goes out");
            }
        }
        Ok(())
    }
}
