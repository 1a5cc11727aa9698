//! Where Kapso posts a number's webhooks, as its customers tell it (Kapso docs: Platform API, webhooks).
//!
//! From the first one on, what people do is posted there and signed with its secret.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Inner, graph::token};

const LIST: &str = "/platform/v1/whatsapp/phone_numbers/{number}/webhooks";
const KNOWN: [&str; 6] = [
    "url",
    "secret_key",
    "events",
    "active",
    "kind",
    "payload_version",
];

pub(super) fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route(LIST, routing::get(list).post(create))
        .route(&format!("{LIST}/{{id}}"), routing::patch(update))
}

/// What webhooks are signed with.
pub(super) fn secret(sim: &Inner) -> String {
    let state = sim.state.borrow();
    let registered = state.webhooks.first();
    let secret = registered.and_then(|webhook| webhook["secret_key"].as_str());
    secret.unwrap_or(&sim.settings.app_secret).to_owned()
}

type Refusal = (StatusCode, Json<Value>);
type Answer = Result<Json<Value>, Refusal>;

fn refuse(status: StatusCode, why: &str) -> Refusal {
    (status, Json(json!({ "error": why })))
}

fn check(sim: &Inner, headers: &HeaderMap, number: &str) -> Result<(), Refusal> {
    if token(sim, headers) != sim.settings.access_token {
        return Err(refuse(StatusCode::UNAUTHORIZED, "Invalid API key"));
    }
    match number == sim.settings.phone_number_id {
        true => Ok(()),
        false => Err(refuse(StatusCode::NOT_FOUND, "Phone number not found")),
    }
}

async fn list(
    State(sim): State<Arc<Inner>>,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Answer {
    check(&sim, &headers, &number)?;
    let webhooks = sim.state.borrow().webhooks.clone();
    Ok(Json(json!({ "data": webhooks })))
}

async fn create(
    State(sim): State<Arc<Inner>>,
    Path(number): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    check(&sim, &headers, &number)?;
    let mut webhook = wish(&body)?;
    webhook["id"] = json!(Uuid::new_v4());
    follow(&sim, &webhook);
    sim.state
        .send_modify(|state| state.webhooks.push(webhook.clone()));
    Ok(Json(json!({ "data": webhook })))
}

async fn update(
    State(sim): State<Arc<Inner>>,
    Path((number, id)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    check(&sim, &headers, &number)?;
    let change = wish(&body)?;
    let mut changed = None;
    sim.state.send_modify(|state| {
        let webhook = state.webhooks.iter_mut().find(|one| one["id"] == json!(id));
        if let Some(webhook) = webhook {
            for (name, value) in change.as_object().into_iter().flatten() {
                webhook[name] = value.clone();
            }
            changed = Some(webhook.clone());
        }
    });
    let changed = changed.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Webhook not found"))?;
    follow(&sim, &changed);
    Ok(Json(json!({ "data": changed })))
}

fn wish(body: &Value) -> Result<Value, Refusal> {
    let wish = &body["whatsapp_webhook"];
    let keys = wish.as_object().into_iter().flatten();
    let unknown = keys
        .into_iter()
        .find(|(key, _)| !KNOWN.contains(&key.as_str()));
    let is_complete = wish["url"].is_string() && wish["events"].is_array();
    match (unknown, is_complete) {
        (None, true) => Ok(wish.clone()),
        _ => Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, "Invalid webhook")),
    }
}

/// Webhooks go where it says.
fn follow(sim: &Inner, webhook: &Value) {
    if let Some(url) = webhook["url"].as_str() {
        sim.webhook_url.send_replace(url.to_owned());
    }
}
