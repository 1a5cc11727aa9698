//! `/healthz`: the process runs. `/readyz`: it can do its work.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::StatusCode};
use sqlx::PgPool;

use super::Web;
use crate::{lease::Lease, sandbox::docker::Docker};

/// A dependency that does not answer within this is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

pub async fn alive() -> &'static str {
    "alive"
}

pub async fn ready(State(web): State<Web>) -> (StatusCode, &'static str) {
    match postgres_answers(&web.db).await {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Postgres does not answer"),
    }
}

#[derive(Clone)]
pub struct WorkerHealth {
    pub db: PgPool,
    pub lease: Lease,
    pub docker: Arc<Docker>,
}

pub async fn worker_ready(State(health): State<WorkerHealth>) -> (StatusCode, &'static str) {
    if !postgres_answers(&health.db).await {
        return (StatusCode::SERVICE_UNAVAILABLE, "Postgres does not answer");
    }
    if !health.lease.is_held() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "another worker has the lease",
        );
    }
    match tokio::time::timeout(ANSWER_WITHIN, health.docker.engine.ping()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "Docker does not answer"),
    }
}

async fn postgres_answers(db: &PgPool) -> bool {
    let asked = sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(db);
    matches!(tokio::time::timeout(ANSWER_WITHIN, asked).await, Ok(Ok(_)))
}
