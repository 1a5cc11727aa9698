//! Where a provider posts a number's webhooks, as its customers tell it.
//!
//! Kapso has webhooks of its own (Kapso docs: Platform API, webhooks): from the first one on, what people do is
//! posted there and signed with its secret. Meta is told by number, and asks the address for the word before it
//! believes it (Meta docs: webhooks, overrides).

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing,
};
use reqwest::Url;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Inner, error::GraphError, graph::token};

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

pub(super) fn of_meta() -> Router<Arc<Inner>> {
    Router::new().route("/{version}/{id}", routing::post(redirect))
}

/// "Callback verification failed" (Meta docs: error codes).
const NOT_VERIFIED: i64 = 2200;

async fn redirect(
    State(sim): State<Arc<Inner>>,
    Path((_version, number)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Json<Value>, GraphError> {
    if token(&sim, &headers) != sim.settings.access_token {
        return Err(GraphError::of(190));
    }
    if number != sim.settings.phone_number_id {
        return Err(GraphError::parameter("There is no such number."));
    }
    let wish = &body["webhook_configuration"];
    let word = |name: &str| wish[name].as_str().ok_or_else(|| GraphError::missing(name));
    let (url, token) = (word("override_callback_uri")?, word("verify_token")?);
    let challenge = Uuid::new_v4().to_string();
    let query = [
        ("hub.mode", "subscribe"),
        ("hub.verify_token", token),
        ("hub.challenge", &challenge),
    ];
    let http = sim.http.borrow().clone();
    let mut asked = Url::parse(url).map_err(|_| GraphError::parameter("That is no address."))?;
    asked.query_pairs_mut().extend_pairs(query);
    let answer = http.get(asked).send().await;
    let said = match answer {
        Ok(answer) if answer.status().is_success() => answer.text().await.ok(),
        _ => None,
    };
    if said.as_deref() != Some(&challenge) {
        return Err(GraphError::of(NOT_VERIFIED));
    }
    sim.webhook_url.send_replace(url.to_owned());
    Ok(Json(json!({ "success": true })))
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
