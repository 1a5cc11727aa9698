//! `clawkaka sandbox logs`: what a sandbox wrote to its log. It is the sandbox's word, and cleaned
//! of whatever looks private; what an agent says of its person may still be in it, so that reading
//! it is put on record.

use std::{collections::VecDeque, io::Write, time::Duration};

use anyhow::Context;
use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use chrono::{DateTime, Utc};
use clap::Args;
use futures_util::{Stream, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    find,
    look::Listed,
    redact::{Line, Lines},
};
use crate::{
    app,
    config::{Config, Keys},
    operator::{
        actor::Actor,
        answer::{Answer, Refusal},
        event::{self, Event},
        settings::{self, Settings, WHERE_FROM},
    },
    sandbox::{files, runtime::Runtime},
};

/// Of one call, also with --follow.
const MAX_LINES: usize = 10_000;
/// Between two pieces of a log that is there already.
const PIECE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Secrets, whatever looks like one, and long numbers are not shown; colours and other control
characters are taken out. Docker keeps the last 20 MB of a container, until it is stopped."))]
pub struct Options {
    /// The sandbox's id or its person's.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// At most so many of the last lines; up to 10000.
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=MAX_LINES as i64))]
    lines: u32,
    /// Goes on with what is written from now on.
    #[arg(long, conflicts_with = "json")]
    follow: bool,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn logs(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    let one = find(&db, options.id).await?;
    let docker = settings::docker(&config).await?;
    let container = docker.inspect(&docker.layout.name(one.id)).await?;
    let container = container.ok_or_else(|| Refusal {
        code: "no-container",
        what: format!("{} has no container, and no log: it is stopped.", one.id),
        todo: "`clawkaka sandbox wake` starts it, with a new log.",
    })?;
    record(&db, &one, options.actor.name(), now).await?;
    let token = gateway_token(&config, &one);
    let secrets: Vec<_> = token.iter().map(|token| token.expose_secret()).collect();
    let asked = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(options.follow)
        .tail(&options.lines.to_string())
        .build();
    let pieces = docker.engine.logs(&container.id, Some(asked));
    if options.follow {
        let mut left = MAX_LINES;
        let print = |line: Line| {
            left = left.saturating_sub(1);
            let printed = writeln!(std::io::stdout(), "{}", line.clean(&secrets));
            // A reader that went away ends it, too.
            left > 0 && printed.is_ok()
        };
        read(pieces, None, print).await?;
        return Ok(Answer::new(String::new(), json!({})));
    }
    let most = options.lines as usize;
    let mut lines = VecDeque::new();
    let keep = |line: Line| {
        lines.push_back(line.clean(&secrets));
        if lines.len() > most {
            lines.pop_front();
        }
        true
    };
    read(pieces, Some(PIECE_WITHIN), keep).await?;
    let text = match lines.is_empty() {
        true => "Its log is empty.".to_owned(),
        false => Vec::from(lines.clone()).join("\n"),
    };
    let json = json!({ "sandbox": one.id.0, "container_id": container.id, "lines": lines });
    Ok(Answer::new(text, json))
}

/// Hands on every line for as long as more are wanted.
async fn read(
    pieces: impl Stream<Item = Result<LogOutput, bollard::errors::Error>>,
    within: Option<Duration>,
    mut hand_on: impl FnMut(Line) -> bool,
) -> anyhow::Result<()> {
    let mut pieces = std::pin::pin!(pieces);
    let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
    loop {
        let next = match within {
            Some(within) => tokio::time::timeout(within, pieces.next())
                .await
                .context("read a sandbox's log: Docker did not go on")?,
            None => pieces.next().await,
        };
        let Some(piece) = next else { break };
        let done = match piece.context("read a sandbox's log")? {
            LogOutput::StdErr { message } => stderr.push(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => stdout.push(&message),
            LogOutput::StdIn { .. } => continue,
        };
        for line in done {
            if !hand_on(line) {
                return Ok(());
            }
        }
    }
    for line in [stdout.rest(), stderr.rest()].into_iter().flatten() {
        hand_on(line);
    }
    Ok(())
}

/// Where the master key is at hand; its shape is known without, too.
fn gateway_token(config: &Config, one: &Listed) -> Option<SecretString> {
    match &config.keys {
        Keys::Master(master) => Some(files::gateway_token(master, one.id, one.epoch)),
        _ => None,
    }
}

async fn record(
    db: &PgPool,
    one: &Listed,
    actor: String,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let event = Event {
        actor: &actor,
        tenant: one.tenant,
        kind: "logs",
        detail: json!({ "sandbox": one.id.0 }),
    };
    event::record(db, event, now).await
}
