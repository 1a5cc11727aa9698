//! A message that WhatsApp has approved, which an assistant asks for by its name: it also reaches somebody who
//! has not written for a day, when WhatsApp takes no words.

use super::{Exchange, compose::Towards};
use crate::{
    line::policy,
    outbox::{
        Draft,
        nudge::{self, MAX_IN_A_ROW},
    },
    tenant,
    whatsapp::outgoing::Outgoing,
};

impl Exchange {
    /// Only what the operator named for the line, in the person's language, once in an answer, and not again
    /// and again to somebody who says nothing: each may cost money. Else what its name says, as words.
    pub(super) async fn template(
        &self,
        towards: &Towards<'_>,
        name: &str,
        before: &[Draft],
    ) -> anyhow::Result<Outgoing> {
        let words = || Outgoing::text(name.replace('_', " "));
        let is_template = |one: &Draft| matches!(one.message, Outgoing::Template { .. });
        if before.iter().any(is_template) {
            return Ok(words());
        }
        let person = tenant::standing(&self.db, towards.tenant).await?;
        let Some(line) = self.typing.lines.get(person.line) else {
            return Ok(words());
        };
        let templates = policy::templates(&self.db, &line).await?;
        let Some(template) = templates.named(name, &person.language) else {
            tracing::warn!("an assistant asks for a template that its line does not have");
            return Ok(words());
        };
        if nudge::in_a_row(&self.db, towards.tenant).await? >= MAX_IN_A_ROW {
            return Ok(words());
        }
        metrics::counter!("clawkaka_templates_total").increment(1);
        Ok(Outgoing::Template {
            name: template.name.clone(),
            language: template.language.clone(),
        })
    }
}
