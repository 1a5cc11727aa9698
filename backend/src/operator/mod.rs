//! The operator's commands, all but `serve`, `migrate` and `keys`: what is wrong (`doctor`), where is
//! a message (`trace`), stop what goes out (`freeze`), who is there (`tenant`), their containers
//! (`sandbox`), the numbers (`line`), who may come (`invite`) and who may not (`block`), a word of ours to
//! somebody (`send`), what is kept for bad days (`backup`, `restore`), away with all of it (`nuke`).
//!
//! Each reads the same settings as `serve`, answers in short lines or, with `--json`, in one document
//! with stable names, and leaves the work to the running worker: it changes tables, nothing else. Only
//! `nuke` is otherwise, which works while none runs, and `line`, which asks WhatsApp first. What changes
//! anything writes a row of the table `event` in the same transaction. No text, name or number of a person is
//! shown, but with `--reveal`, which is put on record.

mod actor;
pub mod answer;
mod backup;
mod block;
mod confirm;
mod doctor;
pub mod event;
mod freeze;
mod invite;
mod line;
mod nuke;
mod progress;
mod restore;
mod reveal;
mod sandbox;
mod secret;
mod send;
mod settings;
mod tenant;
mod trace;

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Subcommand;

use crate::clock::Clock;
use answer::{Answer, Refusal, print};

#[derive(Subcommand)]
pub enum Command {
    /// Looks for everything that can be wrong; exit code 1 if something is.
    Doctor(doctor::Options),
    /// Tells where a message is and what it waits for, without its content.
    Trace(trace::Options),
    /// Stops what goes out: messages are taken in, none is sent and no agent is asked.
    Freeze(freeze::Options),
    /// Lets go out again what `freeze` has stopped.
    Unfreeze(freeze::Options),
    /// The people: list, show, suspend, resume, set-role, allow, disallow, allowed, export, erase.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// The sandboxes: list, show, logs, wake, pause, stop, backup, snapshots, restore, upgrade.
    #[command(subcommand)]
    Sandbox(sandbox::Command),
    /// The numbers that people write to: add, list, show, set, remove, test.
    #[command(subcommand)]
    Line(line::Command),
    /// People from whom nothing is taken: add, remove, list, sync.
    #[command(subcommand)]
    Block(block::Command),
    /// Codes that let new people in: create, list, revoke.
    #[command(subcommand)]
    Invite(invite::Command),
    /// Says something to one person, once, as ourselves.
    Send(Box<send::Options>),
    /// Backs up everything that changed, at BACKUP_TO.
    Backup(backup::Options),
    /// Brings a whole deployment back from its backups, into an empty database.
    Restore(restore::Options),
    /// Removes what the program made: sandboxes with all they remember, network, tables.
    Nuke(nuke::Options),
}

/// Runs one command and prints its answer. `problems` are settings that could not be read.
pub async fn run(command: Command, problems: Vec<String>) -> anyhow::Result<ExitCode> {
    let json = command.wants_json();
    let answer = answer(command, problems, Clock::System.now()).await?;
    print(&answer, json);
    Ok(match answer.good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Command {
    fn wants_json(&self) -> bool {
        match self {
            Self::Doctor(options) => options.json,
            Self::Trace(options) => options.json,
            Self::Freeze(options) | Self::Unfreeze(options) => options.json,
            Self::Tenant(command) => command.wants_json(),
            Self::Sandbox(command) => command.wants_json(),
            Self::Line(command) => command.wants_json(),
            Self::Block(command) => command.wants_json(),
            Self::Invite(command) => command.wants_json(),
            Self::Send(options) => options.json,
            Self::Nuke(options) => options.json,
            Self::Backup(options) => options.json,
            Self::Restore(options) => options.json,
        }
    }
}

/// What a command has to say. A refusal is an answer; an error is what nobody foresaw.
pub async fn answer(
    command: Command,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let answer = match command {
        Command::Doctor(options) => doctor::run(options, problems).await,
        Command::Trace(options) => trace::run(options, problems, now).await,
        Command::Freeze(options) => freeze::freeze(options, problems, now).await,
        Command::Unfreeze(options) => freeze::unfreeze(options, problems, now).await,
        Command::Tenant(command) => tenant::run(command, problems, now).await,
        Command::Sandbox(command) => sandbox::run(command, problems, now).await,
        Command::Line(command) => line::run(command, problems, now).await,
        Command::Block(command) => block::run(command, problems, now).await,
        Command::Invite(command) => invite::run(command, problems, now).await,
        Command::Send(options) => send::run(*options, problems, now).await,
        Command::Nuke(options) => nuke::run(options, problems).await,
        Command::Backup(options) => backup::run(options, problems, now).await,
        Command::Restore(options) => restore::run(options, problems, now).await,
    };
    answer.or_else(|error| Ok(Answer::from(error.downcast::<Refusal>()?)))
}
