//! Row 5: how long somebody waits whose sandbox is paused, beside `docker unpause` of the same
//! container; and whose sandbox is stopped, beside `docker start` of the same image.

use std::time::Instant;

use anyhow::Context as _;

use super::{
    Scale,
    asked::{ask, until_paused, until_stopped},
    bare::Bare,
    person::ready_after,
    report::{Better, Budget, Figure, Of, median, percentile, say},
    stage,
};
use crate::{Person, Product, command, crowd::person};

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let settings = [("SANDBOX_PAUSE_AFTER", "1s"), ("SANDBOX_STOP_AFTER", "1h")];
    let mut product = stage::whole(&settings).await?;
    let person = person(1);
    ask(&product, &person, "first").await?;
    let paused = from_pause(&mut product, &person, scale).await?;
    product.set("SANDBOX_STOP_AFTER", "3s");
    product.start_again().await?;
    let stopped = from_stop(&product, &person, scale).await?;
    product.finish(&[]).await?;
    Ok(vec![paused, stopped])
}

/// Until the agent has what was written. Leaves the product stopped.
async fn from_pause(
    product: &mut Product,
    person: &Person,
    scale: &Scale,
) -> anyhow::Result<Figure> {
    let mut ours = Vec::new();
    for number in 1..=scale.wakes {
        until_paused(product).await?;
        let asked = ask(product, person, &format!("paused-{number}")).await?;
        ours.push(asked.accepted);
    }
    until_paused(product).await?;
    // Nobody but us may touch the container now; it stays paused in the end.
    product.stop().await?;
    let sandboxes = product.docker.sandboxes().await?;
    let sandbox = sandboxes.first().context("there is no sandbox")?;
    let mut floors = Vec::new();
    for _ in 1..=scale.wakes {
        let began = Instant::now();
        command::run("docker", &["unpause", &sandbox.id]).await?;
        floors.push(began.elapsed().as_secs_f64());
        command::run("docker", &["pause", &sandbox.id]).await?;
    }
    let (p95, floor) = told("paused", &ours, "docker unpause", &floors);
    let budget = Budget {
        of: Of::Value,
        better: Better::Less,
        must: 0.5,
        aim: 0.25,
    };
    Ok(Figure::new(
        "wake_from_pause",
        p95,
        "s",
        Some(floor),
        budget,
    ))
}

/// Until its gateway has let us in.
async fn from_stop(product: &Product, person: &Person, scale: &Scale) -> anyhow::Result<Figure> {
    let bare = Bare::prepare().await?;
    bare.fill(|_| {}).await?;
    bare.boot().await?;
    bare.stop().await?;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for number in 1..=scale.wakes {
        until_stopped(product).await?;
        ours.push(woken(product, person, &format!("stopped-{number}")).await?);
        until_stopped(product).await?;
        floors.push(bare.start_again().await?.as_secs_f64());
        bare.stop().await?;
    }
    let (p95, floor) = told("stopped", &ours, "docker start", &floors);
    let budget = Budget {
        of: Of::Ratio,
        better: Better::Less,
        must: 1.2,
        aim: 1.05,
    };
    Ok(Figure::new("wake_from_stop", p95, "s", Some(floor), budget))
}

/// Seconds from a message to a stopped sandbox until its gateway has let us in.
pub async fn woken(product: &Product, person: &Person, name: &str) -> anyhow::Result<f64> {
    let asked = ask(product, person, name).await?;
    let ready = ready_after(&product.logs.text()?, asked.written);
    let ready = ready.context("find when it was ready")?;
    Ok((ready - asked.written).as_seconds_f64())
}

/// The 95th percentiles of both, said aloud with the medians.
fn told(what: &str, ours: &[f64], beside: &str, floors: &[f64]) -> (f64, f64) {
    let (p95, floor) = (percentile(ours, 95.0), percentile(floors, 95.0));
    say(&format!(
        "  {what}: p50 {:.3} s, p95 {p95:.3} s; {beside}: p50 {:.3} s, p95 {floor:.3} s",
        median(ours),
        median(floors)
    ));
    (p95, floor)
}
