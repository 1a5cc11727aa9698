//! `clawkaka send`: a message of ours to somebody who is there already, once.
//!
//! It takes the way of every other message: the outbox, in order, within WhatsApp's 24 hours, behind a
//! freeze. The key makes it one message however often the command is given.

mod to;
mod what;

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    actor::Actor,
    answer::{Answer, Refusal, no_master_key},
    event::{self, Event},
    progress::Progress,
    settings::{Settings, WHERE_FROM},
};
use crate::{
    app,
    config::Keys,
    freeze,
    id::TenantId,
    line,
    outbox::{
        self, Class, Draft, State,
        look::{self, Queued},
    },
    seal::{MasterKey, Opener, Sealer},
    tenant::window,
    whatsapp::outgoing::Outgoing,
};
use to::Person;
use what::{Label, Said, What};

const HELP: &str = "Examples:
  clawkaka send --to 0198c0de-… --text 'We are back.' --key back-2026-11
  clawkaka send --to +4366012345678 --text - --wait < note.txt
  clawkaka send --to US.13491208655302741918 --text 'Hello' --line 106540352242922
  clawkaka send --to 0198c0de-… --template de=wir_sind_zurueck --key back-2026-11
  clawkaka send --to 0198c0de-… --document invoice.pdf --caption 'Yours of May' --key invoice-5

With the same --key again nothing is sent again, and the answer says so. A text that is too long for
one message goes as several; a file goes as what its bytes are, and is given to WhatsApp once. WhatsApp takes what we say only within 24 hours after a person's last
message; later it is held, and goes out when they write again. A template goes out at any time, and
past what is held. Exit code 0: it is queued; with --wait, only if WhatsApp has it.";

/// What --wait waits at most: a send, one repetition, and what is before it.
const MAX_WAIT: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(300);
const MAX_KEY_CHARS: usize = 100;

#[derive(Args)]
#[command(after_help = format!("{HELP}\n\n{WHERE_FROM}"))]
pub struct Options {
    /// Who: the id that `clawkaka tenant list` shows, a phone number, or WhatsApp's user id. Nobody new is made.
    #[arg(long, value_name = "ID | NUMBER")]
    to: String,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    label: Label,
    /// Your name for this message: the same again is not sent again. One is made unless given.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// On which number, for whoever writes to several: its id, or the provider's.
    #[arg(long, value_name = "LINE")]
    line: Option<String>,
    /// Waits until WhatsApp has it or it cannot be sent.
    #[arg(long)]
    wait: bool,
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
    let key = key(options.key)?;
    let said = options.what.read(options.label)?;
    let config = options.settings.config(problems)?;
    let Keys::Master(master) = &config.keys else {
        return Err(no_master_key().into());
    };
    let db = app::connect(&config.database_url).await?;
    let person = to::find(&db, master, &options.to, options.line.as_deref()).await?;
    let actor = options.actor.name();
    let before = look::by_key(&db, person.tenant, &stored(&key)).await?;
    let parts = match said {
        Said::Words(parts) => parts,
        Said::File(file) => {
            let is_queued = !before.is_empty();
            let message = file.message(&db, &config, master, &person, is_queued, now);
            vec![message.await?.ok_or_else(|| another(&key))?]
        }
    };
    let is_new = queue(&db, master, &person, &key, &parts, &actor, now).await?;
    let mut rows = look::by_key(&db, person.tenant, &stored(&key)).await?;
    refuse_another(master, &rows, &parts, &key)?;
    let why = delay(&db, &person, &parts, now).await?;
    if options.wait {
        rows = follow(&db, person.tenant, &key, options.json).await?;
    }
    Ok(answer(&person, &key, &rows, is_new, options.wait, why))
}

fn key(key: Option<String>) -> Result<String, Refusal> {
    let Some(key) = key else {
        return Ok(Uuid::now_v7().to_string());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match key.chars().all(plain) && (1..=MAX_KEY_CHARS).contains(&key.len()) {
        true => Ok(key),
        false => Err(Refusal {
            code: "bad-key",
            what: "That cannot be a key.".to_owned(),
            todo: "Use up to 100 of a-z, A-Z, 0-9 and -_.:",
        }),
    }
}

/// As the table has it. Further parts have a number behind.
fn stored(key: &str) -> String {
    format!("command/{key}")
}

/// True if it was not queued before. All parts or none.
async fn queue(
    db: &PgPool,
    master: &MasterKey,
    person: &Person,
    key: &str,
    parts: &[Outgoing],
    actor: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let key = stored(key);
    let drafts = parts.iter().enumerate().map(|(part, message)| Draft {
        key: match part {
            0 => key.clone(),
            part => format!("{key}/{part}"),
        },
        class: Class::Ours,
        message: message.clone(),
    });
    let drafts: Vec<_> = drafts.collect();
    let mut tx = db.begin().await.context("begin to queue a message")?;
    let sealer = Sealer::new(master.sealing_key());
    // The first decides: whoever queued it queued them all.
    let (first, others) = drafts.split_at(1);
    let new = outbox::enqueue(&mut tx, &sealer, person.tenant, None, first, now).await?;
    if new == 0 {
        return Ok(false);
    }
    outbox::enqueue(&mut tx, &sealer, person.tenant, None, others, now).await?;
    let event = Event {
        actor,
        tenant: Some(person.tenant),
        kind: "send",
        detail: json!({ "key": key, "messages": parts.len() }),
    };
    event::record(&mut *tx, event, now).await?;
    tx.commit().await.context("commit a message")?;
    Ok(true)
}

/// A key that means something else already must not look as if this had been sent.
fn refuse_another(
    master: &MasterKey,
    rows: &[Queued],
    parts: &[Outgoing],
    key: &str,
) -> anyhow::Result<()> {
    let opener = Opener::new(master);
    let is_same = |(row, part): (&Queued, &Outgoing)| match &row.body {
        Some(body) => {
            let opened = opener.open(body);
            opened.is_ok_and(|body| part.to_bytes().is_ok_and(|part| part == body))
        }
        // It was cleared long ago.
        None => true,
    };
    match rows.len() == parts.len() && rows.iter().zip(parts).all(is_same) {
        true => Ok(()),
        false => Err(another(key).into()),
    }
}

fn another(key: &str) -> Refusal {
    Refusal {
        code: "key-of-another-text",
        what: format!("With the key {key} something else was queued for them before."),
        todo: "Give this one another --key.",
    }
}

/// Why it does not go out at once, if so.
async fn delay(
    db: &PgPool,
    person: &Person,
    parts: &[Outgoing],
    now: DateTime<Utc>,
) -> anyhow::Result<Option<&'static str>> {
    if freeze::is_frozen(db, person.tenant).await? {
        return Ok(Some("they are frozen: it waits for `clawkaka unfreeze`"));
    }
    if line::is_blocked(db, person.line, now).await? {
        return Ok(Some("their line is blocked: `clawkaka doctor` says why"));
    }
    let goes_at_any_time = matches!(parts, [Outgoing::Template { .. }]);
    let is_open = goes_at_any_time || window::is_open(person.last_inbound_at, now);
    Ok((!is_open).then_some(
        "they last wrote more than 24 hours ago, so WhatsApp refuses it: it is held until they write",
    ))
}

async fn follow(
    db: &PgPool,
    tenant: TenantId,
    key: &str,
    quiet: bool,
) -> anyhow::Result<Vec<Queued>> {
    let (begun, mut progress) = (Instant::now(), Progress::new());
    loop {
        let rows = look::by_key(db, tenant, &stored(key)).await?;
        let is_over =
            |row: &Queued| matches!(row.state, State::Accepted | State::Failed | State::Held);
        if rows.iter().all(is_over) || begun.elapsed() > MAX_WAIT {
            return Ok(rows);
        }
        if !quiet {
            progress.say(worst(&rows).as_str());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the parts have come to together.
fn worst(rows: &[Queued]) -> State {
    let order = [
        State::Failed,
        State::Held,
        State::Unknown,
        State::Sending,
        State::Queued,
    ];
    let mut found = order.into_iter();
    let found = found.find(|state| rows.iter().any(|row| row.state == *state));
    found.unwrap_or(State::Accepted)
}

fn answer(
    person: &Person,
    key: &str,
    rows: &[Queued],
    is_new: bool,
    waited: bool,
    why: Option<&str>,
) -> Answer {
    let state = worst(rows);
    let ids: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
    let error = rows.iter().find_map(|row| row.error.as_deref());
    let queued = match is_new {
        true => "Queued",
        false => "This key was queued before; nothing is sent again",
    };
    let mut text = format!("{queued}: {} (key {key}).\n", ids.join(", "));
    if let Some(why) = why.filter(|_| state != State::Accepted) {
        text.push_str(&format!("It does not go out at once: {why}.\n"));
    }
    if waited || !is_new {
        let told = match state {
            State::Accepted => "WhatsApp has it.".to_owned(),
            State::Failed => format!("It cannot be sent ({}).", error.unwrap_or("?")),
            State::Held => "It is held until they write again.".to_owned(),
            state => format!("It is not out yet ({}).", state.as_str()),
        };
        text.push_str(&format!("{told}\n"));
    }
    text.push_str(&format!("Where it is: clawkaka trace {}", ids[0]));
    let json = json!({ "tenant": person.tenant.0, "line": person.line.0, "key": key, "changed": is_new,
                       "outbox": ids, "state": state.as_str(), "error": error, "waits_because": why });
    Answer {
        good: !waited || state == State::Accepted,
        ..Answer::new(text, json)
    }
}
