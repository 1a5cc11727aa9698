//! The command line: settings in, exit code out.

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clawkaka::{
    MIGRATOR, app,
    config::{self, Config, Raw},
    migrate::{self, Patience},
    operator, telemetry,
};

/// A setting is bad: the code that sysexits.h gives to bad configuration.
const BAD_SETTINGS: u8 = 78;

/// Personal assistants over WhatsApp: one OpenClaw agent in one sandbox per person.
#[derive(Parser)]
#[command(name = "clawkaka", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the product; ROLES picks web, worker and broker.
    Serve(Box<Raw>),
    /// Brings the database up to date. Safe to run again.
    Migrate(Box<Raw>),
    /// Prints the parts of CLAWKAKA_MASTER_KEY that a process needs which is only web, a line each.
    Keys(Box<Raw>),
    #[command(flatten)]
    Operate(operator::Command),
}

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nobody installed one yet");
    let mut problems = Vec::new();
    let from_files = config::env::from_files(&Cli::command(), &mut problems);
    let cli = Cli::parse_from(std::env::args().chain(from_files));
    let done = match cli.command {
        Command::Serve(raw) => serve(*raw, problems),
        Command::Migrate(raw) => migrate(*raw, problems),
        Command::Keys(raw) => keys(*raw, problems),
        Command::Operate(command) => operate(command, problems),
    };
    done.unwrap_or_else(|error| {
        complain(&format!("clawkaka: {error:#}"));
        match error.is::<config::BadSettings>() {
            true => ExitCode::from(BAD_SETTINGS),
            false => ExitCode::FAILURE,
        }
    })
}

fn serve(raw: Raw, problems: Vec<String>) -> anyhow::Result<ExitCode> {
    let config = Config::check(raw, problems)?;
    telemetry::start_logs(config.log_format);
    runtime()?.block_on(app::serve(config))
}

fn migrate(raw: Raw, problems: Vec<String>) -> anyhow::Result<ExitCode> {
    let database_url = config::database_url(raw, problems)?;
    runtime()?.block_on(async {
        let db = app::connect(&database_url).await?;
        migrate::run(&db, &MIGRATOR, Patience::default(), complain).await
    })?;
    say("The database is up to date.");
    Ok(ExitCode::SUCCESS)
}

fn keys(raw: Raw, problems: Vec<String>) -> anyhow::Result<ExitCode> {
    let master = config::master_key(raw, problems)?;
    let (sealing, webhooks) = (master.sealing_key(), master.webhook_key());
    say(&format!("CLAWKAKA_SEALING_KEY={}", sealing.to_base64()));
    say(&format!("CLAWKAKA_WEBHOOK_KEY={}", webhooks.to_base64()));
    Ok(ExitCode::SUCCESS)
}

fn operate(command: operator::Command, problems: Vec<String>) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(operator::run(command, problems))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

#[expect(clippy::print_stderr, reason = "this is the command line")]
fn complain(error: &str) {
    eprintln!("{error}");
}

#[expect(clippy::print_stdout, reason = "this is the command line")]
fn say(text: &str) {
    println!("{text}");
}
