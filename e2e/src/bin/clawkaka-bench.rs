//! `clawkaka-bench`: measures the product, each number against its floor in the same run.
//!
//! Lines of JSON on standard output, everything else on standard error. Stops by itself.

use std::{io, process::ExitCode};

use clap::Parser;
use e2e::bench::{
    Row, Scale,
    report::{print, say, table},
};
use tokio::signal::unix::{SignalKind, signal};

/// Measures the product on real Docker, OpenClaw and Postgres, in deployments of its own.
///
/// Needs root, Docker, nftables, pgbench, the sandbox image (SANDBOX_IMAGE) and release builds of
/// the product (CLAWKAKA_BIN, or the one built beside this) and of this. `infra/bench.sh` sees to
/// all of that.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Only the rows whose names contain one of these words
    words: Vec<String>,

    /// A short run, to see that everything can be measured: its numbers say little
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    // Filling ten thousand rows is slow, and no news.
    tracing_subscriber::fmt()
        .with_env_filter("warn,sqlx=error")
        .with_writer(io::stderr)
        .init();
    let options = Options::parse();
    let scale = match options.quick {
        true => Scale::QUICK,
        false => Scale::FULL,
    };
    let wanted = |row: &Row| {
        options.words.is_empty() || options.words.iter().any(|word| row.name().contains(word))
    };
    let rows: Vec<_> = Row::ALL.into_iter().filter(wanted).collect();
    if rows.is_empty() {
        let names = Row::ALL.map(Row::name).join(", ");
        anyhow::bail!("no row has a name like that: there are {names}");
    }
    // A signal drops what is being measured, which takes its deployment along.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        code = measure(&rows, &scale) => code,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn measure(rows: &[Row], scale: &Scale) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    let mut failed = 0;
    for row in rows {
        say(&format!("{} …", row.name()));
        match row.measure(scale).await {
            Ok(figures) => {
                print(&figures)?;
                all.extend(figures);
            }
            Err(error) => {
                say(&format!("{} could not be measured: {error:?}", row.name()));
                failed += 1;
            }
        }
    }
    say(&table(&all));
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Options::command().debug_assert();
    }
}
