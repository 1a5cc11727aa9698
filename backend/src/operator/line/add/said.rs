//! What an operator is told once a line is stored: what web and worker do now, and what is left to do.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::asked::{Asked, Given};
use crate::{
    id::LineId,
    line::Delivery,
    operator::{
        answer::Answer,
        doctor::{Finding, Verdict},
    },
    whatsapp::{
        provider::Provider,
        register::{EVENTS, Registered},
    },
};

impl Asked {
    pub fn answer(
        &self,
        id: LineId,
        is_new: bool,
        given: &Given,
        registered: Option<Result<Registered, String>>,
        found: &[Finding],
    ) -> Answer {
        let mut text = match is_new {
            true => format!("Line {} is added, as {id}.", self.number),
            false => format!("Line {} has its new secrets, as {id}.", self.number),
        };
        text.push_str(" Web and worker know it within seconds; nothing need be restarted.\n");
        for finding in found.iter().filter(|one| one.result != Verdict::Ok) {
            let todo = finding.todo.as_deref().unwrap_or_default();
            text.push_str(&format!("\n{}: {}\n→ {todo}\n", finding.code, finding.what));
        }
        text.push_str(&match (&registered, self.provider) {
            (None, _) if given.delivery == Delivery::Poll => {
                "\nKapso is asked for its messages; it needs no webhook.\n".to_owned()
            }
            (None, Provider::Meta) => self.for_meta(given),
            (None, Provider::Kapso) => for_kapso(),
            (Some(Ok(_)), _) => "\nKapso posts its webhooks to us.\n".to_owned(),
            (Some(Err(why)), _) => format!(
                "\nThe line is stored, but Kapso did not register the webhook: {why}.\n\
                 → Run the same command again: nothing is doubled.\n"
            ),
        });
        let shown = given.word.as_ref().filter(|_| !self.word_is_given);
        let json = json!({
            "line": id.0,
            "provider": self.provider.as_str(),
            "phone_number_id": self.number,
            "new": is_new,
            "delivery": given.delivery.as_str(),
            "webhook": match &registered {
                None => Value::Null,
                Some(Ok(Registered::New)) => json!("registered"),
                Some(Ok(Registered::Changed)) => json!("changed"),
                Some(Err(why)) => json!({ "error": why }),
            },
            "verification_token": shown.map(|word| word.expose_secret()),
            "checks": found,
        });
        Answer {
            good: !matches!(registered, Some(Err(_))),
            ..Answer::new(text, json)
        }
    }

    fn for_meta(&self, given: &Given) -> String {
        let word = match (&given.word, self.word_is_given) {
            (Some(word), false) => word.expose_secret(),
            _ => "the one you gave",
        };
        format!(
            "\nIn Meta's dashboard (WhatsApp > Configuration), if this app's webhook is not registered yet\n\
             \x20 callback URL   https://<your domain>{}\n\
             \x20 verify token   {word}\n\
             \x20 subscribe to   messages\n",
            Provider::Meta.webhook_path(),
        )
    }
}

fn for_kapso() -> String {
    format!(
        "\nIn Kapso's dashboard (the number > Webhooks)\n\
         \x20 URL            https://<your domain>{}\n\
         \x20 secret         the one you gave\n\
         \x20 events         {}; payload version v2\n",
        Provider::Kapso.webhook_path(),
        EVENTS.join(", ")
    )
}
