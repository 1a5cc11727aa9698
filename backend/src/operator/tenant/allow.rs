//! `clawkaka tenant allow|disallow|allowed`: addresses that are let in however their line takes new people.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;

use crate::{
    app,
    config::Keys,
    id::LineId,
    line::{policy, stored},
    operator::{
        actor::Actor,
        answer::{Answer, Refusal, ago, no_master_key, stamp, table},
        event::{self, Event},
        line::find,
        reveal::Reveal,
        settings::{Settings, WHERE_FROM},
    },
    seal::{MasterKey, Sealer},
    tenant::{
        address::{AddressBook, Entry},
        allowed,
    },
    whatsapp::event::{Sender, digits},
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Who is let in already stays so, on the list or not: `clawkaka tenant suspend` shuts somebody out.

Examples:
  clawkaka tenant allow +4366012345678 --role family
  clawkaka tenant disallow +4366012345678"))]
pub struct Options {
    /// A phone number with its country's code, or WhatsApp's user id.
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// On which number, where there are several: its id, or the provider's.
    #[arg(long, value_name = "LINE")]
    line: Option<String>,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
pub struct Allow {
    /// The role they get when they come.
    #[arg(long, value_name = "ROLE", value_parser = policy::role)]
    role: Option<String>,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka tenant allowed --reveal"))]
pub struct List {
    /// Shows the addresses on this terminal, and puts that on record.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn allow(
    allow: Allow,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let role = allow.role;
    let (db, place, actor) = place(allow.options, problems).await?;
    let mut tx = db.begin().await.context("begin to let somebody in")?;
    let is_new = allowed::put(&mut *tx, place.line, place.entry, role.as_deref(), now).await?;
    let event = Event {
        actor: &actor,
        tenant: None,
        kind: "allow",
        detail: json!({ "line": place.line.0, "role": role, "new": is_new }),
    };
    event::record(&mut *tx, event, now).await?;
    tx.commit().await.context("commit who is let in")?;
    let text = match is_new {
        true => format!(
            "Whoever writes from there to {} is let in. Undo: clawkaka tenant disallow",
            place.number
        ),
        false => "They were on the list already; the role is the one given now.".to_owned(),
    };
    let json = json!({ "line": place.line.0, "allowed": true, "changed": is_new, "role": role });
    Ok(Answer::new(text, json))
}

pub async fn disallow(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let (db, place, actor) = place(options, problems).await?;
    let mut tx = db.begin().await.context("begin to change the list")?;
    let changed = allowed::remove(&mut *tx, place.line, &place.entry).await?;
    if changed {
        let event = Event {
            actor: &actor,
            tenant: None,
            kind: "disallow",
            detail: json!({ "line": place.line.0 }),
        };
        event::record(&mut *tx, event, now).await?;
    }
    tx.commit().await.context("commit the list")?;
    let text = match changed {
        true => {
            "They are off the list. If they have written already, they stay: `clawkaka tenant suspend` shuts somebody out."
        }
        false => "They were not on the list.",
    };
    let json = json!({ "line": place.line.0, "allowed": false, "changed": changed });
    Ok(Answer::new(text.to_owned(), json))
}

pub async fn list(
    options: List,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    let all = allowed::list(&db).await?;
    let addresses = match options.reveal {
        true => {
            let reveal = Reveal {
                db: &db,
                keys: &config.keys,
                actor: options.actor,
                list: "allowed",
            };
            let sealed = all.iter().map(|one| Some(one.address.as_slice()));
            reveal.all(sealed, now).await?
        }
        false => vec![None; all.len()],
    };
    let both = all.iter().zip(&addresses);
    let rows = both.clone().map(|(one, address)| {
        vec![
            one.phone_number_id.clone(),
            address.clone().unwrap_or(one.kind.clone()),
            one.role.clone().unwrap_or("-".to_owned()),
            ago(one.created_at, now),
            one.tenant
                .map_or("has not written".to_owned(), |id| id.to_string()),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let text = match all.is_empty() {
        true => "Nobody is on the list.".to_owned(),
        false => table(&["LINE", "ADDRESS", "ROLE", "SINCE", "PERSON"], &rows),
    };
    let json = both.map(|(one, address)| {
        json!({ "line": one.line.0, "kind": one.kind, "address": address, "role": one.role,
                "since": stamp(one.created_at), "tenant": one.tenant.map(|id| id.0) })
    });
    let json: Vec<_> = json.collect();
    Ok(Answer::new(text, json!({ "allowed": json })))
}

/// An address on a line.
struct Place {
    line: LineId,
    number: String,
    entry: Entry,
}

async fn place(options: Options, problems: Vec<String>) -> anyhow::Result<(PgPool, Place, String)> {
    let config = options.settings.config(problems)?;
    let Keys::Master(master) = &config.keys else {
        return Err(no_master_key().into());
    };
    let entry = entry(master, options.address)?;
    let db = app::connect(&config.database_url).await?;
    let line = line(&db, options.line.as_deref()).await?;
    let place = Place {
        line: line.id,
        number: line.phone_number_id,
        entry,
    };
    Ok((db, place, options.actor.name()))
}

/// Its words never repeat the address: what is printed may be kept.
pub fn entry(master: &MasterKey, address: String) -> Result<Entry, Refusal> {
    // A user id has letters, and no number has.
    let phone = digits(address.clone());
    let is_user_id = address.chars().any(|c| c.is_ascii_alphabetic())
        && !address.chars().any(|c| c.is_whitespace() || c.is_control());
    let sender = Sender {
        user_id: (phone.is_none() && is_user_id).then_some(address),
        phone,
        group: None,
    };
    let sealer = Sealer::new(master.sealing_key()).into();
    let mut entries = AddressBook::new(master, sealer).entries(&sender);
    entries.pop().ok_or_else(|| Refusal {
        code: "bad-address",
        what: "That is neither a phone number nor a user id.".to_owned(),
        todo: "Write a number with its country's code: +4366012345678.",
    })
}

/// The one that was named, or the only one that there is.
pub async fn line(db: &PgPool, named: Option<&str>) -> anyhow::Result<stored::Listed> {
    if let Some(text) = named {
        return find(db, text).await;
    }
    let all = stored::list(db).await?.into_iter();
    let mut open = all.filter(|line| line.removed_at.is_none());
    match (open.next(), open.next()) {
        (Some(line), None) => Ok(line),
        _ => Err(Refusal {
            code: "which-line",
            what: "There is more than one number, or none yet.".to_owned(),
            todo: "Say which with --line: `clawkaka line list` shows them.",
        }
        .into()),
    }
}
