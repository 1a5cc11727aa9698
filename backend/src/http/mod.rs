//! The web role: what faces the internet. It verifies, stores and answers; it decides nothing.

pub mod batch;
pub mod drain;
mod error;
mod health;
pub mod secrets;
mod webhook;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tower_http::timeout::TimeoutLayer;

use crate::{lease::Lease, sandbox::docker::Docker, seal::Sealer, whatsapp::provider::Provider};
use batch::Batches;
use secrets::Secrets;

/// Meta's documented limit of a webhook body.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Meta gives up somewhat earlier; a slow client must not hold a connection for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// What the public routes need.
#[derive(Clone)]
pub struct Web {
    pub db: PgPool,
    pub batches: Batches,
    pub sealer: Arc<Sealer>,
    pub secrets: Secrets,
}

/// The public routes.
pub fn public(web: Web) -> Router {
    let [meta, kapso] = [Provider::Meta, Provider::Kapso].map(Provider::webhook_path);
    Router::new()
        .route(meta, get(webhook::verify).post(webhook::receive))
        .route(kapso, post(webhook::receive))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIMEOUT,
        ))
        // Outermost, so that a time-out is one of its outcomes.
        .layer(middleware::from_fn(webhook::timed))
        .with_state(web)
}

/// The worker's health, on loopback.
pub fn worker_health(db: PgPool, lease: Lease, docker: Arc<Docker>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::worker_ready))
        .with_state(health::WorkerHealth { db, lease, docker })
}

/// Prometheus metrics, on loopback unless set otherwise.
pub fn metrics(handle: PrometheusHandle, db: PgPool) -> Router {
    let render = async move || {
        let (all, idle) = (db.size(), db.num_idle());
        let used = (all as usize).saturating_sub(idle);
        metrics::gauge!("clawkaka_pool_connections", "state" => "idle").set(idle as f64);
        metrics::gauge!("clawkaka_pool_connections", "state" => "used").set(used as f64);
        handle.render()
    };
    Router::new().route("/metrics", get(render))
}
