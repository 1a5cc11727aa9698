//! Row 3: how long somebody new waits for a gateway, without a pool, against a bare `docker run`.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Scale,
    bare::Bare,
    report::{Better, Budget, Figure, Of, median, say},
    stage,
};
use crate::{
    Product,
    crowd::{mark, person},
};

/// What the worker logs when a gateway has let us in.
const READY: &str = "sandbox is ready";
pub const WALLS_PROVEN: &str = "walls proven from inside";

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let product = stage::whole(&[]).await?;
    // Proven once after a start of ours, and not again for everybody.
    let proven = || async { Ok(product.logs.count(WALLS_PROVEN)? > 0) };
    product.until("the walls are proven", proven).await?;
    let bare = Bare::prepare().await?;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for number in 1..=scale.people {
        let took = somebody_new(&product, number).await?;
        product.docker.kill_sandboxes().await?;
        bare.fill(|_| {}).await?;
        let floor = bare.boot().await?.as_secs_f64();
        bare.clear().await?;
        say(&format!(
            "  person {number}: {took:.2} s, docker run {floor:.2} s"
        ));
        ours.push(took);
        floors.push(floor);
    }
    product.finish(&[]).await?;
    let budget = Budget {
        of: Of::Ratio,
        better: Better::Less,
        must: 1.2,
        aim: 1.05,
    };
    let (ours, floor) = (median(&ours), median(&floors));
    Ok(vec![Figure::new(
        "new_person",
        ours,
        "s",
        Some(floor),
        budget,
    )])
}

/// Seconds from their first webhook to a gateway that has let us in.
pub async fn somebody_new(product: &Product, number: usize) -> anyhow::Result<f64> {
    let (person, mark) = (person(number), mark(format!("new-{number}")));
    let written = Utc::now();
    product
        .says(&person, &format!("Good morning, please note {mark}"))
        .await?;
    product.answered(&person, &mark).await?;
    let ready = ready_after(&product.logs.text()?, written).context("find when it was ready")?;
    // The next one has the machine to itself.
    product.settled().await?;
    Ok((ready - written).as_seconds_f64())
}

/// When the log first says after a moment that a sandbox is ready.
pub fn ready_after(log: &str, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let ready = log.lines().filter(|line| line.contains(READY));
    let times = ready.filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let time = line["timestamp"].as_str()?;
        Some(DateTime::parse_from_rfc3339(time).ok()?.to_utc())
    });
    times.into_iter().find(|time| *time > moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ready_after_a_moment_is_found() {
        let line = |second| {
            format!(
                "{{\"timestamp\":\"2026-01-01T00:00:0{second}.250000Z\",\"message\":\"{READY}\"}}\n"
            )
        };
        let log = [line(1), line(3), line(5)].concat();
        let moment = "2026-01-01T00:00:02Z".parse().unwrap();
        let found = ready_after(&log, moment).unwrap();
        assert_eq!((found - moment).as_seconds_f64(), 1.25);
    }
}
