//! `clawkaka tenant export`: everything we hold of a person, to be read by them.
//!
//! ```text
//! person.json       name, addresses, how they stand with us, quiet hours
//! messages.json     what they wrote and were sent, as far as it is still kept, in order
//! reminders.json    what they are to be reminded of
//! usage.json        what their agent's calls of the model were, by day
//! events.json       what operators did about them
//! agent/            their agent's files: memory, notes, conversations; not the gateway's own, with its keys
//! ```
//! The agent's files come from a snapshot that is taken now, so that they are whole.

mod out;

use std::path::PathBuf;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{look, unknown};
use crate::{
    backup::{
        archive,
        archive::LIMITS,
        pipe,
        row::{self, Kind, Wish},
        seal::BackupKey,
        store::Store,
    },
    export::tables,
    id::{SandboxId, TenantId},
    operator::{
        actor::Actor,
        answer::{Answer, Refusal},
        backup::{
            follow::{self, size},
            place,
        },
        event::{self, Event},
        restore,
        settings::{Settings, WHERE_FROM},
    },
    seal::{MasterKey, Opener},
};
use out::Out;

/// Of the agent's files, those that are the person's: what it noted, and its conversations. The rest
/// is the gateway's own, keys among it.
const THEIRS: [&str; 2] = ["workspace", "openclaw/agents"];

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Needs CLAWKAKA_MASTER_KEY, and BACKUP_TO with a running worker for the agent's files.

Examples:
  clawkaka tenant export 0198c0de-… --to /root/export
  clawkaka tenant export 0198c0de-… --to /root/export.tar.zst
  clawkaka tenant export 0198c0de-… --to /root/export --without-files"))]
pub struct Options {
    /// As `clawkaka tenant list` shows it.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// A folder that does not exist yet, or a file that ends in `.tar.zst`; readable by you alone.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Only what is in the tables.
    #[arg(long)]
    without_files: bool,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let store = match options.without_files {
        true => None,
        false => Some(Store::open(
            &place(&options.settings, problems.clone())?.to,
        )?),
    };
    let master = restore::key(&mut options.settings, problems.clone())?;
    let db = options.settings.database(problems).await?;
    let id = TenantId(options.id);
    let person = look::one(&db, id, now).await?.ok_or_else(|| unknown(id))?;
    let mut out = Out::create(&options.to).map_err(|error| Refusal {
        code: "cannot-write",
        what: format!("{} cannot be made: {error:#}.", options.to.display()),
        todo: "Name a folder or file that does not exist yet.",
    })?;
    let actor = options.actor.name();
    let event = Event {
        actor: &actor,
        tenant: Some(id),
        kind: "export",
        detail: json!({ "files": !options.without_files }),
    };
    event::record(&db, event, now).await?;
    let opener = Opener::new(&master);
    let mut counts = json!({});
    for (name, table) in tables::all(&db, &opener, id).await? {
        if let Some(rows) = table.as_array() {
            counts[name] = json!(rows.len());
        }
        let text = serde_json::to_vec_pretty(&table)?;
        out.add(
            &format!("{name}.json"),
            text.len() as u64,
            &mut text.as_slice(),
        )?;
    }
    let (mut files, mut bytes) = (0, 0);
    if let (Some(store), Some(sandbox)) = (&store, person.sandbox) {
        (out, files, bytes) =
            agent(&db, store, &master, sandbox, out, options.json, &actor, now).await?;
    }
    out.finish()?;
    let to = options.to.display();
    let text = format!(
        "Written to {to}: {} messages, {} reminders, {files} files of the agent ({}).\n\
         It is not sealed: give it to the person and delete it.",
        counts["messages"],
        counts["reminders"],
        size(bytes as i64)
    );
    let json =
        json!({ "tenant": id.0, "to": options.to, "rows": counts, "files": files, "bytes": bytes });
    Ok(Answer::new(text, json))
}

/// Takes a snapshot and writes what is in it.
#[expect(clippy::too_many_arguments, reason = "called once, above")]
async fn agent(
    db: &PgPool,
    store: &Store,
    master: &MasterKey,
    sandbox: SandboxId,
    mut out: Out,
    quiet: bool,
    actor: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<(Out, u64, u64)> {
    let wish = Wish {
        kind: Kind::Sandbox,
        parent: None,
        sandbox: Some(sandbox),
        object: None,
        actor: Some(actor.to_owned()),
    };
    let asked = row::ask(db, &wish, now).await?;
    let followed = follow::follow(db, asked, quiet).await?;
    let followed = followed.context("follow a backup: its row is gone")?;
    let Some(name) = followed.asked.object.clone().filter(|_| followed.good()) else {
        if followed.asked.outcome.as_deref() == Some("no_volume") {
            return Ok((out, 0, 0));
        }
        return Err(Refusal {
            code: "no-snapshot",
            what: format!("The agent's files could not be taken: {}", followed.line()),
            todo: "Look at the worker's log, or export --without-files.",
        }
        .into());
    };
    let key = BackupKey::new(master);
    pipe::read(store, &key, &name, move |from| {
        let (mut files, mut bytes) = (0, 0);
        archive::files(from, LIMITS, |path, length, content| {
            if !THEIRS.iter().any(|theirs| path.starts_with(theirs)) {
                return Ok(());
            }
            files += 1;
            bytes += length;
            let name = format!("agent/{}", path.display());
            out.add(&name, length, content)
        })?;
        Ok((out, files, bytes))
    })
    .await
}
