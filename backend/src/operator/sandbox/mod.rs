//! `clawkaka sandbox list|show|logs|wake|pause|stop|backup|snapshots|restore|upgrade`: the sandboxes, by their own id
//! or their person's.
//!
//! What is said of a container is asked of Docker at that moment; what is ordered is written into
//! the table, and the running worker acts.

pub mod backups;
mod engine;
mod follow;
mod list;
mod logs;
mod look;
mod order;
mod redact;
mod show;
mod upgrade;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use sqlx::PgPool;
use uuid::Uuid;

use super::answer::{Answer, Refusal, stamp};
use crate::sandbox::row::order::Order;
use look::Listed;

#[derive(Subcommand)]
pub enum Command {
    /// Every sandbox, whoever was active last first.
    List(list::Options),
    /// One sandbox: state, memory, image, conversation, failures.
    Show(show::Options),
    /// What one wrote to its log, without secrets and numbers; puts that on record.
    Logs(logs::Options),
    /// Wakes one that is paused or stopped.
    Wake(order::Options),
    /// Pauses one: it stays in RAM, costs no CPU, and goes on within a second.
    Pause(order::Options),
    /// Stops one: its RAM is free again, and what it remembers stays in its volume.
    Stop(order::Options),
    #[command(flatten)]
    Backups(backups::Command),
    /// Moves sandboxes to the current image, with a way back.
    Upgrade(upgrade::Options),
}

impl Command {
    pub fn wants_json(&self) -> bool {
        match self {
            Self::List(options) => options.json,
            Self::Show(options) => options.json,
            Self::Logs(options) => options.json,
            Self::Wake(options) | Self::Pause(options) | Self::Stop(options) => options.json,
            Self::Backups(command) => command.wants_json(),
            Self::Upgrade(options) => options.json,
        }
    }
}

pub async fn run(
    command: Command,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    match command {
        Command::List(options) => list::list(options, problems, now).await,
        Command::Show(options) => show::show(options, problems, now).await,
        Command::Logs(options) => logs::logs(options, problems, now).await,
        Command::Wake(options) => order::give(Order::Wake, options, problems, now).await,
        Command::Pause(options) => order::give(Order::Pause, options, problems, now).await,
        Command::Stop(options) => order::give(Order::Stop, options, problems, now).await,
        Command::Backups(command) => backups::run(command, problems, now).await,
        Command::Upgrade(options) => upgrade::run(options, problems, now).await,
    }
}

/// The sandbox of this id, or of the person of this id.
async fn find(db: &PgPool, id: Uuid) -> anyhow::Result<Listed> {
    let found = look::one(db, id).await?;
    Ok(found.ok_or_else(|| Refusal {
        code: "no-such-sandbox",
        what: format!("There is no sandbox with the id {id}, and no person with that id has one."),
        todo: "`clawkaka sandbox list` shows all. A person gets theirs with their first message.",
    })?)
}

fn stamped(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(stamp)
}
