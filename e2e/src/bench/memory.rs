//! Row 7: what web, worker and broker take of the machine's memory with ten thousand people, of
//! whom a few are awake.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::{
    Scale,
    report::{Better, Budget, Figure, Of, say},
    stage::{self, Process, Role},
};
use crate::{
    Person, Product,
    crowd::{mark, people},
};

/// Somebody who is awake writes so often.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// What an idle OpenClaw may take while it starts; the machine must not swap for a benchmark.
const KILOBYTES_PER_SANDBOX: u64 = 900 << 10;
const KILOBYTES_TO_SPARE: u64 = 1 << 20;

/// Ten thousand people.
const PEOPLE: &str = include_str!("people.sql");

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    stage::image().await?;
    let product = stage::prepared(&[("LIMIT_TENANTS", "20000")]).await?;
    product.walls("up").await?;
    // The line is made by the first process that needs one.
    let broker = Process::start(&product, Role::Broker).await?;
    let web = Process::start(&product, Role::Web).await?;
    populate(&product).await?;
    let worker = Process::start(&product, Role::Worker).await?;
    let processes = [web, worker, broker];

    let people = wake(&product, scale.running).await?;
    traffic(&product, &people, scale.light_traffic).await?;
    let mut sum = 0.0;
    for process in &processes {
        let memory = Memory::of(process.pid)?;
        say(&format!(
            "  {:?}: {:.1} MiB (resident {:.1})",
            process.role, memory.proportional, memory.resident
        ));
        sum += memory.proportional;
    }
    let backends = of_backends(&product).await?;
    say(&format!(
        "  beside them: {} connections to Postgres with {backends:.1} MiB in all",
        product.postgres.count(BACKENDS).await?
    ));
    product.settled().await?;
    let mut product = product;
    product.finished();
    drop(processes);
    let budget = Budget {
        of: Of::Value,
        better: Better::Less,
        must: 200.0,
        aim: 100.0,
    };
    Ok(vec![Figure::new("memory", sum, "MiB", None, budget)])
}

async fn populate(product: &Product) -> anyhow::Result<()> {
    sqlx::raw_sql(PEOPLE)
        .execute(&product.postgres.db)
        .await
        .context("fill the tables with people")?;
    let (people, turns) = (
        product
            .postgres
            .count("select count(*) from tenant")
            .await?,
        product.postgres.count("select count(*) from turn").await?,
    );
    say(&format!("  {people} people with {turns} turns"));
    Ok(())
}

/// One after another, as far as the machine has memory for them.
async fn wake(product: &Product, wanted: usize) -> anyhow::Result<Vec<Person>> {
    let mut awake = Vec::new();
    for person in people(wanted) {
        if available()? < KILOBYTES_PER_SANDBOX + KILOBYTES_TO_SPARE {
            say("  the machine has no memory for more sandboxes");
            break;
        }
        let mark = mark(format!("wake-{}", awake.len()));
        product
            .says(&person, &format!("Please note {mark}"))
            .await?;
        product.answered(&person, &mark).await?;
        awake.push(person);
    }
    say(&format!("  {} sandboxes of {wanted} run", awake.len()));
    Ok(awake)
}

/// A message now and then, from everybody in turn.
async fn traffic(product: &Product, people: &[Person], lasting: Duration) -> anyhow::Result<()> {
    let started = Instant::now();
    for (number, person) in people.iter().cycle().enumerate() {
        if started.elapsed() >= lasting {
            break;
        }
        let mark = mark(format!("light-{number}"));
        product.says(person, &format!("Please note {mark}")).await?;
        product.answered(person, &mark).await?;
        tokio::time::sleep_until(started + WRITE_EVERY * (number as u32 + 1)).await;
    }
    Ok(())
}

/// In MiB.
struct Memory {
    /// Shared pages divided among those who share them.
    proportional: f64,
    resident: f64,
}

impl Memory {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("read the memory of {pid}"))?;
        let field = |name| Ok::<_, anyhow::Error>(kilobytes(&rollup, name)? as f64 / 1024.0);
        Ok(Self {
            proportional: field("Pss:")?,
            resident: field("Rss:")?,
        })
    }
}

const BACKENDS: &str = "select count(*) from pg_stat_activity where usename = 'clawkaka' and backend_type = 'client backend'";

/// What Postgres takes for the product's connections: each is a process.
async fn of_backends(product: &Product) -> anyhow::Result<f64> {
    let pids: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity where usename = 'clawkaka' and backend_type = 'client backend'",
    )
    .fetch_all(&product.postgres.db)
    .await?;
    let memory = pids
        .iter()
        // One that has ended meanwhile takes nothing.
        .filter_map(|pid| Memory::of(pid.unsigned_abs()).ok());
    Ok(memory.map(|memory| memory.proportional).sum())
}

fn available() -> anyhow::Result<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").context("read the machine's memory")?;
    kilobytes(&memory, "MemAvailable:")
}

/// From a line such as `Pss:    1234 kB`.
fn kilobytes(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .with_context(|| format!("find {name}"))?
        .parse()
        .context("read a number of kilobytes")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernels_numbers_are_read() {
        let rollup = "00400000-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    20 kB\nPss:    14 kB\n";
        assert_eq!(super::kilobytes(rollup, "Pss:").unwrap(), 14);
        assert!(super::kilobytes(rollup, "Swap:").is_err());
    }
}
