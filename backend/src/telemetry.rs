//! Logs and metrics. Logs carry ids, never texts, names or phone numbers.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    config::{LogFormat, Roles},
    lifecycle::Shutdown,
    metric,
};

/// What is logged when `RUST_LOG` does not say otherwise. sqlx would log statements.
const DEFAULT_FILTER: &str = "info,sqlx=warn";
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Starts logging to standard error.
pub fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_FILTER.into());
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => logs.with_target(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// Starts collecting metrics; the handle renders them for Prometheus.
pub fn start_metrics(roles: Roles) -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in metric::buckets() {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    metric::begin(roles);
    Ok(handle)
}

/// Samples of histograms wait in memory until they are sorted into buckets; nobody may ever scrape.
pub async fn keep_tidy(handle: PrometheusHandle, shutdown: Shutdown) {
    while !shutdown.is_stopping() {
        handle.run_upkeep();
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY) => {}
            () = shutdown.stopping() => {}
        }
    }
}
