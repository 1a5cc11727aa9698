//! Row 7: what web, worker and broker take of the machine's memory with ten thousand people, of
//! whom a few are awake; and of a core once those are paused and nobody writes, when all there is to
//! do is the reconcile loop's passes.

use std::{ops::Range, time::Duration};

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
    processes::{Memory, kilobytes_available, time_on_cores},
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
    let product = stage::prepared(&[
        ("LIMIT_TENANTS", "20000"),
        ("SANDBOX_PAUSE_AFTER", scale.pause_after),
        ("SANDBOX_STOP_AFTER", "1h"),
    ])
    .await?;
    product.walls("up").await?;
    // The line is made by the first process that needs one.
    let broker = Process::start(&product, Role::Broker).await?;
    let web = Process::start(&product, Role::Web).await?;
    populate(&product).await?;
    let worker = Process::start(&product, Role::Worker).await?;
    let processes = [web, worker, broker];

    let people = wake(&product, 0..scale.running).await?;
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
    let more = wake(&product, scale.running..2 * scale.running).await?;
    say(&format!("  {} more are woken", more.len()));
    let (rest, pass) = at_rest(&product, &processes, scale.rest).await?;
    let mut product = product;
    product.finished();
    drop(processes);
    let less = |must, aim| Budget {
        of: Of::Value,
        better: Better::Less,
        must,
        aim,
    };
    Ok(vec![
        Figure::new("memory", sum, "MiB", None, less(200.0, 100.0)),
        Figure::new("core_at_rest", rest, "%", None, less(2.0, 1.0)),
        // One a second: what falls is seen by the next.
        Figure::new("reconcile_pass", pass, "ms", None, less(250.0, 50.0)),
    ])
}

/// Waits until all who are awake are paused; then how much of one core all processes take, in
/// percent, and how long a pass of the reconcile loop lasts, in milliseconds.
async fn at_rest(
    product: &Product,
    processes: &[Process],
    lasting: Duration,
) -> anyhow::Result<(f64, f64)> {
    let paused = || async {
        let all = product.docker.sandboxes().await?;
        Ok(all.iter().all(|one| one.state == "paused"))
    };
    product.until("all are paused", paused).await?;
    product.settled().await?;
    let worker = processes.iter().find(|one| one.role == Role::Worker);
    let worker = worker.context("find the worker")?;
    let passes_before = passes(worker).await?;
    let before = times(processes)?;
    let began = Instant::now();
    tokio::time::sleep(lasting).await;
    let took = began.elapsed().as_secs_f64();
    let mut sum = 0.0;
    for ((process, before), after) in processes.iter().zip(before).zip(times(processes)?) {
        let percent = (after - before).as_secs_f64() / took * 100.0;
        say(&format!(
            "  {:?} at rest: {percent:.2} % of a core",
            process.role
        ));
        sum += percent;
    }
    let (seconds, count) = passes(worker).await?;
    let (seconds, count) = (seconds - passes_before.0, count - passes_before.1);
    let pass = seconds / count * 1_000.0;
    say(&format!("  {count:.0} passes of {pass:.1} ms"));
    Ok((sum, pass))
}

/// How long all passes of the reconcile loop took so far, in seconds, and how many there were.
async fn passes(worker: &Process) -> anyhow::Result<(f64, f64)> {
    let metric = async |of| {
        let name = format!("clawkaka_sandbox_pass_seconds_{of}");
        worker.metric(&name).await
    };
    Ok((metric("sum").await?, metric("count").await?))
}

fn times(processes: &[Process]) -> anyhow::Result<Vec<Duration>> {
    let times = processes.iter().map(|process| time_on_cores(process.pid));
    times.collect()
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
async fn wake(product: &Product, wanted: Range<usize>) -> anyhow::Result<Vec<Person>> {
    let mut awake = Vec::new();
    let all = people(wanted.end).into_iter().enumerate();
    for (number, person) in all.skip(wanted.start) {
        if kilobytes_available()? < KILOBYTES_PER_SANDBOX + KILOBYTES_TO_SPARE {
            say("  the machine has no memory for more sandboxes");
            break;
        }
        let mark = mark(format!("wake-{number}"));
        product
            .says(&person, &format!("Please note {mark}"))
            .await?;
        product.answered(&person, &mark).await?;
        awake.push(person);
    }
    say(&format!(
        "  {} sandboxes of {} run",
        awake.len(),
        wanted.len()
    ));
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
