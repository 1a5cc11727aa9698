//! How fast a webhook is stored for good: with 500 a second, and as many as it takes.
//!
//! The web role alone, real signatures, a Postgres that waits for its disk. Ours and the floor take
//! turns, so that what else the machine does hits both.

use std::{sync::Arc, time::Duration};

use super::{
    Scale,
    load::Load,
    pgbench::Pgbench,
    report::{Better, Budget, Figure, Of, median, percentile, say},
    stage::{self, Process, Role},
};
use crate::Product;

const PER_SECOND: u32 = 500;
const CLIENTS: usize = 32;

struct Stage {
    product: Product,
    load: Arc<Load>,
    _web: Process,
}

impl Stage {
    async fn start() -> anyhow::Result<Self> {
        let product = stage::prepared(&[]).await?;
        let web = Process::start(&product, Role::Web).await?;
        let load = Arc::new(Load::new(&product.whatsapp, product.place.port)?);
        Ok(Self {
            product,
            load,
            _web: web,
        })
    }

    async fn floor(&self) -> anyhow::Result<Pgbench<'_>> {
        let folder = self.product.place.folder.join("pgbench");
        Pgbench::prepare(&self.product.postgres, folder, self.load.body_bytes()).await
    }

    /// 200 means stored: as many rows as messages, whatever it took.
    async fn nothing_was_lost(mut self) -> anyhow::Result<()> {
        let stored = self.product.postgres.count("select count(*) from inbox");
        let (stored, made) = (stored.await?, self.load.made());
        anyhow::ensure!(stored == made as i64, "{stored} of {made} were stored");
        say(&format!("  all {made} messages are in the inbox"));
        self.product.finished();
        Ok(())
    }
}

/// Row 1: how long a webhook takes that comes when 500 a second come.
pub async fn latency(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::start().await?;
    let floor = stage.floor().await?;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    stage.load.at_rate(PER_SECOND, scale.warm_up).await?;
    for round in 1..=scale.rounds {
        let samples = stage.load.at_rate(PER_SECOND, scale.slice).await?;
        let below = floor.at_rate(PER_SECOND, CLIENTS, scale.slice).await?;
        say(&format!(
            "  round {round}: webhook {:.2} / {:.2} ms, insert {:.2} / {:.2} ms (p50 / p99)",
            median(&samples),
            percentile(&samples, 99.0),
            median(&below),
            percentile(&below, 99.0)
        ));
        ours.extend(samples);
        floors.extend(below);
    }
    drop(floor);
    stage.nothing_was_lost().await?;
    let figure = |name, percent, must, aim| {
        let budget = Budget {
            of: Of::Value,
            better: Better::Less,
            must,
            aim,
        };
        let floor = percentile(&floors, percent);
        Figure::new(name, percentile(&ours, percent), "ms", Some(floor), budget)
    };
    Ok(vec![
        figure("webhook_p50", 50.0, 5.0, 2.0),
        figure("webhook_p99", 99.0, 50.0, 20.0),
    ])
}

/// Row 2: how many webhooks a second are stored when 32 are always on their way.
pub async fn throughput(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::start().await?;
    let floor = stage.floor().await?;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    stage.load.at_once(CLIENTS, scale.warm_up).await?;
    floor.at_once(CLIENTS, Duration::from_secs(1)).await?;
    for round in 1..=scale.rounds {
        let taken = stage.load.at_once(CLIENTS, scale.slice).await?;
        let below = floor.at_once(CLIENTS, scale.slice).await?;
        say(&format!(
            "  round {round}: {taken:.0} webhooks a second, {below:.0} inserts a second"
        ));
        ours.push(taken);
        floors.push(below);
    }
    drop(floor);
    stage.nothing_was_lost().await?;
    let budget = Budget {
        of: Of::Ratio,
        better: Better::More,
        must: 0.25,
        aim: 1.0,
    };
    let (ours, floor) = (median(&ours), median(&floors));
    let name = "webhooks_per_second";
    Ok(vec![Figure::new(name, ours, "1/s", Some(floor), budget)])
}
