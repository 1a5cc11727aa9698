//! `clawkaka line webhook`: has the provider post a number's webhooks to an address of ours.
//!
//! What `line add --webhook-url` does for one that is added, for any that is there: when the address has
//! changed, and for those that the environment names.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::{address, db, facts, find, unknown};
use crate::{
    line::Delivery,
    operator::{
        actor::Actor,
        answer::{Answer, Refusal},
        doctor::number::Number,
        event::{self, Event},
        secret,
        settings::{Settings, WHERE_FROM},
    },
    whatsapp::{
        account::Trouble,
        client,
        provider::Provider,
        register::{self, Registered},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "At Meta it is set for this number alone and goes before what its app's dashboard says; the app must subscribe to
`messages` there. Meta asks the address for the word at once, so that web must be reached by it already.

Examples:
  clawkaka line webhook 106540352242922 --url https://assistant.example.org
  clawkaka line webhook 123456789012345 --url https://host.tailnet.ts.net --webhook-secret-file secret"))]
pub struct Options {
    /// Its id, or the provider's phone number id.
    #[arg(value_name = "LINE")]
    line: String,
    /// Our address: https://, and the route for webhooks unless it is left out.
    #[arg(long, value_name = "URL")]
    url: Url,
    /// Kapso: the secret of the webhook, where this process does not know it.
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// Meta: the word of the registration, where this process does not know it.
    #[arg(long, value_name = "FILE")]
    verification_token_file: Option<PathBuf>,
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
    let facts = facts(options.settings, problems, false)?;
    let line = find(db(&facts).await?, &options.line).await?;
    let all = Number::all(&facts).await?;
    let number = all
        .iter()
        .find(|number| (number.provider(), &number.id) == (line.provider, &line.phone_number_id));
    let number = number.ok_or_else(|| unknown(&options.line))?;
    if number.delivery == Delivery::Poll {
        return Err(polled().into());
    }
    let address = address::ours(line.provider, options.url)?;
    let (name, known, file) = match line.provider {
        Provider::Meta => (
            "verification token",
            &number.verification_token,
            options.verification_token_file,
        ),
        Provider::Kapso => (
            "webhook secret",
            &number.webhook_secret,
            options.webhook_secret_file,
        ),
    };
    let secret = match file {
        None if !known.expose_secret().is_empty() => known.clone(),
        file => secret::read(name, file.as_deref())?,
    };
    let done = register(number, &address, &secret).await.map_err(refused)?;
    let event = Event {
        actor: &options.actor.name(),
        tenant: None,
        kind: "line_webhook",
        detail: json!({ "line": line.id.0, "url": address.as_str() }),
    };
    event::record(db(&facts).await?, event, now).await?;
    let text = format!("Webhooks of {} are posted to {address}.", number.id);
    let json = json!({ "line": line.id.0, "phone_number_id": number.id, "url": address.as_str(),
                       "changed": done == Registered::Changed });
    Ok(Answer::new(text, json))
}

async fn register(
    number: &Number,
    address: &Url,
    secret: &SecretString,
) -> Result<Registered, Trouble> {
    let http = client::http_builder().build();
    let http = http.map_err(|_| Trouble::Unreachable("no client could be made".to_owned()))?;
    let (api, id, key) = (&number.api, &number.id, &number.access_token);
    match number.provider() {
        Provider::Meta => register::redirect(&http, api, id, key, address, secret).await,
        Provider::Kapso => register::register(&http, api, id, key, address, secret).await,
    }
}

fn polled() -> Refusal {
    Refusal {
        code: "polled",
        what: "Kapso is asked for this line's messages; it has no webhook.".to_owned(),
        todo: "Add it with --delivery webhook, or set KAPSO_DELIVERY=webhook where the environment names it.",
    }
}

fn refused(trouble: Trouble) -> Refusal {
    Refusal {
        code: "not-registered",
        what: format!("The webhook was not registered: {trouble}."),
        todo: "`clawkaka line test` says whether the credentials work. Meta also asks the address for the word: it must reach web from the internet.",
    }
}
