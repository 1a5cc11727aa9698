//! `clawkaka line test`: all that `doctor` looks at of one number; with --to it sends a message.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{db, facts, find, unknown};
use crate::{
    copy,
    operator::{
        actor::Actor,
        answer::{Answer, Refusal},
        doctor::{self, Finding, Verdict, fail, number::Number, ok},
        event::{self, Event},
        settings::{Settings, WHERE_FROM},
    },
    whatsapp::{
        client::{self, Client, Recipient},
        event::digits,
        outgoing::Outgoing,
    },
};

/// Comes back with the receipts, and belongs to no message of ours.
const CALLBACK: &str = "line-test";

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Examples:
  clawkaka line test 106540352242922
  clawkaka line test 106540352242922 --to +4366012345678   sends one sentence, for real

Exit code 1 if something is wrong, each with what to do. Where web is another container, its part (the
webhook's signature) is looked at by `doctor` there: ./infra/operator.sh doctor."))]
pub struct Options {
    /// Its id, or the provider's phone number id.
    #[arg(value_name = "LINE")]
    line: String,
    /// Sends one sentence to this number, which must have written to it within 24 hours.
    #[arg(long, value_name = "NUMBER")]
    to: Option<String>,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let to = options.to.map(recipient).transpose()?;
    let mut facts = facts(options.settings, problems, true)?;
    let line = find(db(&facts).await?, &options.line).await?;
    // All of them, so that `graph` asks for the right provider.
    facts.numbers = Number::all(&facts).await?;
    let mine = |number: &&Number| {
        (number.provider(), &number.id) == (line.provider, &line.phone_number_id)
    };
    let number = facts.numbers.iter().find(mine);
    let number = number.ok_or_else(|| gone(&options.line))?;
    let mut found = doctor::of_line(&facts, number, false).await;
    let is_good = |found: &[Finding]| found.iter().all(|one| one.result != Verdict::Fail);
    if let Some(to) = to.filter(|_| is_good(&found)) {
        found.push(send(number, &to).await?);
        let event = Event {
            actor: &options.actor.name(),
            tenant: None,
            kind: "line_test",
            detail: json!({ "line": line.id.0, "sent": is_good(&found) }),
        };
        event::record(db(&facts).await?, event, now).await?;
    }
    Ok(doctor::report(&found))
}

fn recipient(text: String) -> Result<Recipient, Refusal> {
    let digits = digits(text).ok_or_else(|| Refusal {
        code: "bad-recipient",
        what: "--to takes a phone number.".to_owned(),
        todo: "Write it with the country's code: +4366012345678.",
    })?;
    Ok(Recipient::Phone(digits))
}

fn gone(text: &str) -> Refusal {
    Refusal {
        code: "line-not-in-use",
        what: format!("The line {text} is neither in the environment nor added."),
        ..unknown(text)
    }
}

async fn send(number: &Number, to: &Recipient) -> anyhow::Result<Finding> {
    let client = Client::new(client::http_builder().build()?);
    let line = client::Line {
        api: &number.api,
        phone_number_id: &number.id,
        access_token: &number.access_token,
    };
    let sent = client
        .send(line, to, &Outgoing::text(copy::LINE_TEST), CALLBACK)
        .await;
    let found = match sent {
        Ok(_) => ok("WhatsApp took the message: look at the phone."),
        Err(error) => fail(
            format!("The message was not taken: {error}."),
            "Code 131047: that person must write to the number first, for 24 hours. 131030: add theirs to the test number's list in Meta's dashboard. Else look the code up in Meta's documentation.",
        ),
    };
    Ok(number.about(found.of("send")))
}
