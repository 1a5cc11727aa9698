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
    processes::{Memory, kilobytes_available},
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
        if kilobytes_available()? < KILOBYTES_PER_SANDBOX + KILOBYTES_TO_SPARE {
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
