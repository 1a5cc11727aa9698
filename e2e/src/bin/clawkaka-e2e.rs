//! `clawkaka-e2e`: the heavy stories of the end-to-end tests, repeated, with a table of what came.
//!
//! Stops by itself. The exit code says whether everything was right.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use e2e::{
    Product, crowd,
    kill::{Case, run, table},
    soak::{self, Soak},
};

/// Runs a story of the end-to-end tests again and again, on real Docker, OpenClaw and Postgres.
///
/// Needs what the tests need: root, Docker, nftables, the sandbox image (SANDBOX_IMAGE) and the
/// product's binary (CLAWKAKA_BIN, or the one built beside this).
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    story: Story,
}

#[derive(Subcommand)]
enum Story {
    /// Kills whatever can die and counts the answers
    KillMatrix {
        /// How often all cases are run, each time on a new deployment
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        repeat: u32,

        /// How many people one kill hits
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
        people: u8,

        /// Only the cases with these letters, for example "dfk"
        #[arg(long)]
        only: Option<String>,
    },
    /// People write without waiting, every webhook comes more than once
    Flood {
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        repeat: u32,

        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=8))]
        people: u8,

        /// In all, of everybody
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5000))]
        messages: u16,
    },
    /// An hour of many people's lives in minutes, on few places: all fall asleep and wake all the time
    Soak {
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=500))]
        people: u16,

        /// In all, of everybody
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=50_000))]
        messages: u16,

        /// How many sandboxes may be awake at a time
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=100))]
        capacity: u8,

        /// Seconds without a message until a sandbox is paused
        #[arg(long, default_value_t = 2)]
        pause_after: u16,

        /// Seconds without a message until it is stopped
        #[arg(long, default_value_t = 6)]
        stop_after: u16,

        /// How many wait, booted, for somebody new
        #[arg(long, default_value_t = 0)]
        pool: u8,

        /// Who writes when is drawn from this; without it, from the clock
        #[arg(long)]
        seed: Option<u64>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let good = match Options::parse().story {
        Story::KillMatrix {
            repeat,
            people,
            only,
        } => kill_matrix(repeat, people, only).await?,
        Story::Flood {
            repeat,
            people,
            messages,
        } => flood(repeat, people, messages).await?,
        Story::Soak {
            people,
            messages,
            capacity,
            pause_after,
            stop_after,
            pool,
            seed,
        } => {
            let soak = Soak {
                people: people.into(),
                messages: messages.into(),
                capacity: capacity.into(),
                pause_after: Duration::from_secs(pause_after.into()),
                stop_after: Duration::from_secs(stop_after.into()),
                pool: pool.into(),
                seed: seed.unwrap_or_else(soak::any_seed),
            };
            soaked(soak).await?
        }
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn kill_matrix(repeat: u32, people: u8, only: Option<String>) -> anyhow::Result<bool> {
    let chosen = |case: &Case| {
        only.as_ref()
            .is_none_or(|only| only.contains(case.letter()))
    };
    let cases: Vec<_> = Case::ALL.into_iter().filter(chosen).collect();
    let mut rounds = Vec::new();
    for round in 1..=repeat {
        let started = Instant::now();
        let ended = run(people.into(), &cases).await?;
        let good = ended.iter().filter(|one| one.result.is_ok()).count();
        let seconds = started.elapsed().as_secs();
        say(&format!(
            "round {round}: {good} of {} right in {seconds} s\n",
            ended.len()
        ))?;
        rounds.push(ended);
    }
    say(&format!(
        "\n{people} people hit by every kill, {repeat} rounds\n{}",
        table(&rounds)
    ))?;
    Ok(rounds.iter().flatten().all(|one| one.result.is_ok()))
}

async fn flood(repeat: u32, people: u8, messages: u16) -> anyhow::Result<bool> {
    let product = Product::start(&[]).await?;
    let people = crowd::people(people.into());
    let mut right = 0;
    for round in 1..=repeat {
        let started = Instant::now();
        let came = crowd::flood(&product, &people, messages.into(), round as usize).await;
        let seconds = started.elapsed().as_secs_f64();
        match came {
            Ok(came) => {
                right += 1;
                say(&format!("round {round}: {came:?} in {seconds:.1} s\n"))?;
            }
            Err(error) => say(&format!("round {round}: {error:?}\n"))?,
        }
    }
    say(&format!(
        "\n{right} of {repeat} rounds: every mark in one answer, in order\n"
    ))?;
    product.finish(&[]).await?;
    Ok(right == repeat)
}

async fn soaked(soak: Soak) -> anyhow::Result<bool> {
    // A signal drops what runs, which takes its deployment along.
    let outcome = tokio::select! {
        outcome = soak::run(soak, soak::show) => outcome?,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    };
    let missing = outcome.never_met();
    if !missing.is_empty() {
        soak::show(&format!("never met: {}", missing.join(", ")));
    }
    Ok(missing.is_empty())
}

fn say(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Options::command().debug_assert();
    }
}
