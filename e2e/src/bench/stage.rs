//! Deployments for measuring: named `ck-bench-…`, on a Postgres that is set as in production, with
//! the roles in one process or in one each.

use std::{fs, process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{process::Child, time::Instant};

use crate::{
    PATIENCE, Product,
    docker::inspect,
    free_ports, http_client,
    place::{BENCH, Place},
    postgres::{AS_IN_PRODUCTION, Postgres},
};

/// Readiness tells nobody when it comes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Everything but the product's processes; the tables are made.
pub async fn prepared(settings: &[(&str, &str)]) -> anyhow::Result<Product> {
    let place = Place::find(BENCH).await?;
    let postgres = Postgres::start(&place.folder, AS_IN_PRODUCTION).await?;
    let product = Product::prepare_at(place, postgres, settings).await?;
    product.migrate().await?;
    Ok(product)
}

/// The image that sandboxes run; without it a benchmark would wait in vain.
pub async fn image() -> anyhow::Result<String> {
    let image = std::env::var("SANDBOX_IMAGE");
    let image = image.unwrap_or_else(|_| "clawkaka-sandbox:dev".to_owned());
    let found = inspect(&image).await?;
    found.with_context(|| format!("{image} is not on this machine: set SANDBOX_IMAGE"))?;
    Ok(image)
}

/// All roles in one process, behind walls.
pub async fn whole(settings: &[(&str, &str)]) -> anyhow::Result<Product> {
    image().await?;
    let mut product = prepared(settings).await?;
    product.walls("up").await?;
    product.start_again().await?;
    Ok(product)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Web,
    Worker,
    Broker,
}

/// One process of the product with one role. It ends when this is dropped.
pub struct Process {
    pub role: Role,
    pub pid: u32,
    metrics: u16,
    _child: Child,
}

impl Process {
    /// Starts it and waits until it is ready.
    pub async fn start(product: &Product, role: Role) -> anyhow::Result<Self> {
        let metrics = free_ports(1)?;
        let (name, ready) = match role {
            Role::Web => ("web", format!("{}/readyz", product.place.port)),
            Role::Worker => ("worker", format!("{}/readyz", product.place.port + 1)),
            Role::Broker => ("broker", format!("{metrics}/metrics")),
        };
        let log = product.place.folder.join("log");
        let log = fs::File::options().create(true).append(true).open(log)?;
        let mut child = product
            .command("serve")?
            .env("ROLES", name)
            .env("METRICS_PORT", metrics.to_string())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = child.id().context("it has ended already")?;
        let http = http_client(Duration::from_secs(5))?;
        let started = Instant::now();
        let url = format!("http://127.0.0.1:{ready}");
        loop {
            let answer = http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Self {
                    role,
                    pid,
                    metrics,
                    _child: child,
                });
            }
            let ended = child.try_wait()?;
            anyhow::ensure!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "{name} did not start ({ended:?}):\n{}",
                product.logs.tail(20)
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The sum of a metric's series, as Prometheus would read it now.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let http = http_client(Duration::from_secs(5))?;
        let text = http.get(&url).send().await?.text().await?;
        let series = text.lines().filter_map(|line| line.rsplit_once(' '));
        let values = series.filter(|(series, _)| series.split('{').next() == Some(name));
        let values: Result<Vec<f64>, _> = values.map(|(_, value)| value.parse()).collect();
        let values = values.with_context(|| format!("read {name}"))?;
        anyhow::ensure!(!values.is_empty(), "there is no {name}");
        Ok(values.iter().sum())
    }
}
