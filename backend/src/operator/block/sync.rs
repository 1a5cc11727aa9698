//! `clawkaka block sync`: brings our list to WhatsApp's own, one address after the other. Safe to repeat, and
//! to break off: what WhatsApp took is noted at once.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    operator::{
        actor::Actor,
        answer::{Answer, no_master_key, table},
        doctor::{facts::Facts, number::Number},
        event::{self, Event},
        line::{db, facts, find},
        settings::{Settings, WHERE_FROM},
    },
    seal::Opener,
    tenant::blocked::{self, Listed},
    whatsapp::{
        account::Trouble,
        block::{self, Wish},
        client::{self, Recipient},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "WhatsApp takes only people who wrote within the last 24 hours (code 139100 for others); here they are refused
all the same. Exit code 1 if WhatsApp did not take one; run it again then, nothing is doubled.

Example:
  clawkaka block sync --line 106540352242922"))]
pub struct Options {
    /// Only on this number: its id, or the provider's.
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

/// What became of one address.
struct Done {
    number: String,
    kind: String,
    what: &'static str,
    todo: Option<String>,
}

pub async fn run(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let facts = facts(options.settings, problems, false)?;
    let opener = Opener::new(facts.master().ok_or_else(no_master_key)?);
    let db = db(&facts).await?;
    let only = match &options.line {
        Some(text) => Some(find(db, text).await?.id),
        None => None,
    };
    let mut due = Vec::new();
    for one in blocked::list(db).await? {
        match (one.lifted_at.is_some(), one.synced_at.is_some()) {
            _ if only.is_some_and(|line| line != one.line) => {}
            (false, true) => {}
            // WhatsApp never heard of it.
            (true, false) => blocked::forget(db, &one).await?,
            (false, false) | (true, true) => due.push(one),
        }
    }
    let mut done = Vec::new();
    if !due.is_empty() {
        done = bring(&facts, db, &opener, due, now).await?;
        let count = |what: &str| done.iter().filter(|one| one.what == what).count();
        let event = Event {
            actor: &options.actor.name(),
            tenant: None,
            kind: "block_sync",
            detail: json!({ "blocked": count(BLOCKED), "unblocked": count(UNBLOCKED),
                            "not_taken": done.len() - count(BLOCKED) - count(UNBLOCKED) }),
        };
        event::record(db, event, now).await?;
    }
    Ok(answer(&done))
}

const BLOCKED: &str = "blocked";
const UNBLOCKED: &str = "unblocked";

async fn bring(
    facts: &Facts,
    db: &PgPool,
    opener: &Opener,
    due: Vec<Listed>,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<Done>> {
    let http = client::http_builder().build()?;
    let numbers = Number::all(facts).await?;
    let mut done = Vec::new();
    // A number that refuses us, or is not reached, refuses all that follow.
    let mut closed: Vec<(String, String)> = Vec::new();
    for one in due {
        let number = one.phone_number_id.clone();
        let mut say = |what, todo| {
            done.push(Done {
                number: number.clone(),
                kind: one.kind.clone(),
                what,
                todo,
            });
        };
        if let Some((_, why)) = closed.iter().find(|(id, _)| *id == number) {
            say("not asked", Some(why.clone()));
            continue;
        }
        let Some(line) = numbers.iter().find(|line| line.id == number) else {
            say("not asked", Some("the number is not in use".to_owned()));
            continue;
        };
        let Some(address) = &one.address else {
            // Erased. Here they are known by a hash only.
            if one.lifted_at.is_some() {
                blocked::forget(db, &one).await?;
            }
            say("not asked", Some("its owner was erased".to_owned()));
            continue;
        };
        let address = String::from_utf8(opener.open(address)?)?;
        let whom = match one.kind.as_str() {
            "phone" => Recipient::Phone(address),
            _ => Recipient::UserId(address),
        };
        let wish = match one.lifted_at {
            None => Wish::Block,
            Some(_) => Wish::Unblock,
        };
        let credentials = (line.id.as_str(), &line.access_token);
        match block::ask(&http, &line.api, credentials, &whom, wish).await {
            Ok(()) if wish == Wish::Block => {
                blocked::synced(db, &one, now).await?;
                say(BLOCKED, None);
            }
            Ok(()) => {
                blocked::forget(db, &one).await?;
                say(UNBLOCKED, None);
            }
            Err(trouble) => {
                let todo = todo(&trouble);
                if !is_of_one(&trouble) {
                    closed.push((number.clone(), todo.clone()));
                }
                say("not taken", Some(todo));
            }
        }
    }
    Ok(done)
}

/// Codes of Meta's about the list itself (Meta docs: Block users; error codes).
fn is_of_one(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Refused {
            code: 139100 | 139102 | 139103
        }
    )
}

fn todo(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Refused { code: 139100 } => {
            "code 139100: WhatsApp takes only who wrote within 24 hours; run this again after they write".to_owned()
        }
        Trouble::Refused { code: 139101 } => {
            "code 139101: WhatsApp's list is full (64,000)".to_owned()
        }
        Trouble::Refused { code: 139102 | 139103 } => {
            "codes 139102 and 139103: WhatsApp's list was changed meanwhile; run this again".to_owned()
        }
        Trouble::Refused { code: 4 | 80007 | 130429 } => {
            "too many calls: run this again in an hour".to_owned()
        }
        Trouble::Refused { code } => {
            format!("code {code}: `clawkaka doctor` says what is wrong with the number")
        }
        Trouble::Unreachable(why) => format!("WhatsApp is not reached: {why}"),
    }
}

fn answer(done: &[Done]) -> Answer {
    let rows = done.iter().map(|one| {
        let todo = one.todo.clone().unwrap_or_default();
        vec![
            one.number.clone(),
            one.kind.clone(),
            one.what.to_owned(),
            todo,
        ]
    });
    let rows: Vec<_> = rows.collect();
    let text = match done.is_empty() {
        true => "WhatsApp's list is as ours.".to_owned(),
        false => table(&["LINE", "ADDRESS", "WHAT", "WHY"], &rows),
    };
    let json = done.iter().map(|one| -> Value {
        json!({ "phone_number_id": one.number, "kind": one.kind, "result": one.what,
                "why": one.todo })
    });
    let json: Vec<_> = json.collect();
    Answer {
        good: done.iter().all(|one| one.todo.is_none()),
        ..Answer::new(text, json!({ "addresses": json }))
    }
}
