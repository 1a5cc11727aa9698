//! `clawkaka line add`: one more number, once its provider takes what it comes with.

mod asked;
mod said;

use std::path::PathBuf;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::PgPool;
use url::Url;

use super::{Whose, db, facts, refuse_named};
use crate::{
    id::LineId,
    line::{
        Delivery,
        stored::{self, Added, MAX_LINES},
    },
    operator::{
        actor::Actor,
        answer::{Answer, Refusal, no_master_key},
        doctor::{self, Finding, Verdict, facts::Facts, number::Number, warn},
        event::{self, Event},
        settings::{Settings, WHERE_FROM},
    },
    presence,
    seal::{MasterKey, Sealer},
    whatsapp::{
        client,
        register::{self, Registered},
    },
};

use asked::{Asked, Files, Given};

const HELP: &str = "Examples:
  clawkaka line add --provider meta --phone-number-id 106540352242922
                                       asks for the access token and the app secret
  clawkaka line add --provider kapso --phone-number-id 123456789012345 \\
    --api-key-file key --webhook-url https://assistant.example.org/kapso/webhook
  clawkaka line add --provider kapso --phone-number-id 123456789012345 --delivery poll
                                       asks for the API key only; nothing of ours need be public
  printf '%s\\n' \"$TOKEN\" \"$SECRET\" | clawkaka line add --provider meta --phone-number-id …

Secrets are no arguments, which everybody on the machine could read: each comes from a file, or is asked
for and read from standard input, a line each, in the order in which the options stand here. They are
tried first, and nothing is stored that is refused. Adding a line again replaces its secrets and opens it.";

/// What only hurts later is no reason to refuse a line.
const NO_REASON: [&str; 2] = ["token-expiry", "webhook-subscription"];

#[derive(Args)]
#[command(after_help = format!("{HELP}\n\n{WHERE_FROM}"))]
pub struct Options {
    /// Who hands us its messages.
    #[arg(long, value_enum)]
    provider: Whose,
    /// The provider's id of the number, not the number itself.
    #[arg(long, value_name = "ID")]
    phone_number_id: String,
    /// Meta: a system user's token with whatsapp_business_messaging.
    #[arg(long, value_name = "FILE")]
    access_token_file: Option<PathBuf>,
    /// Kapso: a key of the number's project.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Meta: the secret of the app.
    #[arg(long, value_name = "FILE")]
    app_secret_file: Option<PathBuf>,
    /// Kapso: the secret of the webhook; one is made where --webhook-url registers it.
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// Meta: the word of the webhook's registration; one is made unless given.
    #[arg(long, value_name = "FILE")]
    verification_token_file: Option<PathBuf>,
    /// Kapso: how its messages get to us; unless given, as before, or webhook. Polled lines need no webhook: Kapso is
    /// asked every 15 s, or, where lines share a key and with it Kapso's limit, each of them more seldom.
    #[arg(long, value_enum)]
    delivery: Option<Delivery>,
    /// Kapso: has it post the number's webhooks to this address of ours.
    #[arg(long, value_name = "URL")]
    webhook_url: Option<Url>,
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
    let asked = Asked::check(&options)?;
    let (actor, files) = (
        options.actor,
        Files {
            access_token: options.access_token_file.or(options.api_key_file),
            webhook_secret: options.app_secret_file.or(options.webhook_secret_file),
            word: options.verification_token_file,
        },
    );
    let facts = facts(options.settings, problems, false)?;
    refuse_named(&facts.config, asked.provider, &asked.number)?;
    let master = facts.master().ok_or_else(no_master_key)?;
    let db = db(&facts).await?;
    let known = stored::all(db).await?;
    let known = known.iter().find(|line| {
        (line.provider, line.phone_number_id.as_str()) == (asked.provider, &asked.number)
    });
    let delivery = asked.delivery(known);
    let given = asked.secrets(files, known, master, delivery)?;
    let number = Number::new(
        facts.config.api(asked.provider),
        &asked.number,
        [
            given.access_token.clone(),
            given.webhook_secret.clone().unwrap_or_default(),
        ],
        given.word.clone(),
    )?;
    let mut found = doctor::of_line(&facts, &number, true).await;
    if found.iter().any(is_reason) {
        let mut answer = doctor::report(&found);
        answer.text = format!("{}\nNothing was stored.", answer.text);
        return Ok(answer);
    }
    if delivery == Delivery::Webhook && !presence::is_live(db).await? {
        found.push(number.about(no_web()));
    }
    let (id, is_new) = store(db, &asked, &given, master, &actor.name(), now).await?;
    let registered = register(&asked, &facts, &given).await?;
    Ok(asked.answer(id, is_new, &given, registered, &found))
}

fn no_web() -> Finding {
    let found = warn(
        "No web is at work, so that nobody takes what is posted.",
        "Start it. One that was deployed without a domain: set CLAWKAKA_DOMAIN and run ./infra/deploy.sh again.",
    );
    found.of("web")
}

fn is_reason(finding: &Finding) -> bool {
    let speaks_against = matches!(finding.result, Verdict::Fail | Verdict::Skip);
    speaks_against && !NO_REASON.contains(&finding.code)
}

/// One transaction; every process learns of it with the commit.
async fn store(
    db: &PgPool,
    asked: &Asked,
    given: &Given,
    master: &MasterKey,
    actor: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<(LineId, bool)> {
    let worker = Sealer::new(master.sealing_key());
    let web = Sealer::new(master.webhook_key().sealing_key());
    let seal = |with: &Sealer, secret: &SecretString| with.seal(secret.expose_secret().as_bytes());
    let mut tx = db.begin().await.context("begin to add a line")?;
    stored::change(&mut tx).await?;
    let all = stored::list(&mut *tx).await?;
    let mut open = all.iter().filter(|line| line.removed_at.is_none());
    let is_new = !open.any(|line| {
        (line.provider, line.phone_number_id.as_str()) == (asked.provider, &asked.number)
    });
    if is_new && all.iter().filter(|line| line.removed_at.is_none()).count() as i64 >= MAX_LINES {
        return Err(too_many().into());
    }
    let line = Added {
        provider: asked.provider,
        phone_number_id: &asked.number,
        access_token: seal(&worker, &given.access_token),
        webhook_secret: given
            .webhook_secret
            .as_ref()
            .map(|secret| seal(&web, secret)),
        verification_token: given.word.as_ref().map(|word| seal(&web, word)),
        delivery: given.delivery,
    };
    let id = stored::add(&mut *tx, line).await?;
    let event = Event {
        actor,
        tenant: None,
        kind: "line_add",
        detail: json!({ "line": id.0, "provider": asked.provider.as_str(),
                         "delivery": given.delivery.as_str(), "new": is_new }),
    };
    event::record(&mut *tx, event, now).await?;
    tx.commit().await.context("commit a line")?;
    Ok((id, is_new))
}

fn too_many() -> Refusal {
    Refusal {
        code: "too-many-lines",
        what: format!("There are {MAX_LINES} lines already, and web tries the secrets of all."),
        todo: "Remove one that is not used any more, or put the number into another deployment.",
    }
}

async fn register(
    asked: &Asked,
    facts: &Facts,
    given: &Given,
) -> anyhow::Result<Option<Result<Registered, String>>> {
    let (Some(address), Some(secret)) = (&asked.webhook_url, &given.webhook_secret) else {
        return Ok(None);
    };
    let http = client::http_builder().build()?;
    let (api, key) = (facts.config.api(asked.provider), &given.access_token);
    let done = register::register(&http, api, &asked.number, key, address, secret).await;
    Ok(Some(done.map_err(|trouble| trouble.to_string())))
}
