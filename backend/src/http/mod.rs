//! The web role: what faces the internet. It verifies, stores and answers; it decides nothing.

pub mod drain;
mod error;
mod health;
mod webhook;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use sqlx::PgPool;
use tokio::sync::Notify;
use tower_http::timeout::TimeoutLayer;

use crate::{clock::Clock, lease::Lease, sandbox::docker::Docker, seal::Sealer};

/// Meta's documented limit of a webhook body.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Meta gives up somewhat earlier; a slow client must not hold a connection for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// What the public routes need.
#[derive(Clone)]
pub struct Web {
    pub db: PgPool,
    pub clock: Clock,
    pub sealer: Arc<Sealer>,
    pub app_secret: SecretString,
    pub verification_token: SecretString,
    /// Rung after each commit; passed on to the workers, many as one.
    pub stored: Arc<Notify>,
}

/// The public routes.
pub fn public(web: Web) -> Router {
    Router::new()
        .route(
            "/whatsapp/webhook",
            get(webhook::verify).post(webhook::receive),
        )
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIMEOUT,
        ))
        .with_state(web)
}

/// The worker's health, on loopback.
pub fn worker_health(db: PgPool, lease: Lease, docker: Arc<Docker>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::worker_ready))
        .with_state(health::WorkerHealth { db, lease, docker })
}

/// Prometheus metrics, on loopback.
pub fn metrics(handle: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(async move || handle.render()))
}
