//! `clawkaka line add|list|show|set|groups|remove|test|webhook`: the numbers that people write to, beside those of the
//! environment, each with secrets of its own; and what holds on each.
//!
//! Web and worker learn of a change at once and without a restart. The environment wins: the secrets of a
//! line that it names are changed there.

mod add;
mod address;
mod groups;
mod list;
mod remove;
mod set;
mod show;
mod test;
mod webhook;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use sqlx::PgPool;

use super::{
    answer::{Answer, Refusal},
    doctor::{self, facts::Facts},
    settings::Settings,
};
use crate::{
    config::{Config, Roles},
    line::{self, stored},
    whatsapp::provider::Provider,
};

#[derive(Subcommand)]
pub enum Command {
    /// Adds a number, or gives one that was added other secrets; they are tried first.
    Add(Box<add::Options>),
    /// All numbers: whose, how many write to them, whether they are open.
    List(list::Options),
    /// One number: what `list` says, who may write to it, what they are told first.
    Show(show::Options),
    /// Sets for one number who may write to it, what they are told first, and which role they get.
    Set(Box<set::Options>),
    /// The groups that write to a number which does not serve them.
    Groups(groups::Options),
    /// Nothing is taken from a number or sent on it any more. Its people stay.
    Remove(remove::Options),
    /// Tries a number: its credentials, its webhook, and with --to a real message.
    Test(test::Options),
    /// Has the provider post a number's webhooks to an address of ours.
    Webhook(webhook::Options),
}

/// Whose API a line speaks.
#[derive(Clone, Copy, ValueEnum)]
pub enum Whose {
    Meta,
    Kapso,
}

impl From<Whose> for Provider {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Meta => Self::Meta,
            Whose::Kapso => Self::Kapso,
        }
    }
}

impl Command {
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Add(options) => options.json,
            Self::List(options) => options.json,
            Self::Show(options) => options.json,
            Self::Set(options) => options.json,
            Self::Groups(options) => options.json,
            Self::Remove(options) => options.json,
            Self::Test(options) => options.json,
            Self::Webhook(options) => options.json,
        }
    }
}

pub async fn run(
    command: Command,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    match command {
        Command::Add(options) => add::run(*options, problems, now).await,
        Command::List(options) => list::run(options, problems, now).await,
        Command::Show(options) => show::run(options, problems, now).await,
        Command::Set(options) => set::run(*options, problems, now).await,
        Command::Groups(options) => groups::run(options, problems, now).await,
        Command::Remove(options) => remove::run(options, problems, now).await,
        Command::Test(options) => test::run(options, problems, now).await,
        Command::Webhook(options) => webhook::run(options, problems, now).await,
    }
}

/// As doctor looks at things, with whatever this process has of the product's settings. `web`:
/// whether ours is to be asked, too.
pub(super) fn facts(settings: Settings, problems: Vec<String>, web: bool) -> anyhow::Result<Facts> {
    let web = web && settings.0.roles.split(',').any(|role| role.trim() == "web");
    let mut config = settings.config(problems)?;
    config.roles = Roles {
        web,
        worker: true,
        broker: false,
    };
    Facts::new(config, doctor::Limits::default())
}

pub(super) async fn db(facts: &Facts) -> anyhow::Result<&PgPool> {
    let connected = facts.try_db().await;
    connected
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("connect to Postgres (DATABASE_URL)")
}

/// A line by what an operator wrote.
pub(super) async fn find(db: &PgPool, text: &str) -> anyhow::Result<stored::Listed> {
    let id = line::find(db, text).await?;
    let all = stored::list(db).await?;
    let found = all.into_iter().find(|one| Some(one.id) == id);
    Ok(found.ok_or_else(|| unknown(text))?)
}

pub fn unknown(text: &str) -> Refusal {
    Refusal {
        code: "no-such-line",
        what: format!("There is no line {text}."),
        todo: "Give its id or WhatsApp's phone number id, as `clawkaka line list` shows them.",
    }
}

fn refuse_named(config: &Config, provider: Provider, number: &str) -> Result<(), Refusal> {
    match config.names(provider, number) {
        false => Ok(()),
        true => Err(Refusal {
            code: "line-of-the-environment",
            what: format!("The environment names the line {number}, and the environment wins."),
            todo: "Change it there (.env) and start again, or take it out of there first.",
        }),
    }
}
