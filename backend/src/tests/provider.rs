//! Meta and Kapso on one port, as far as `clawkaka line` asks them: a token, a number, an app, webhooks.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, patch},
};
use serde_json::{Value, json};

pub const TOKEN: &str = "good-token";
pub const SECRET: &str = "good-app-secret";
const APP: &str = "4711";

#[derive(Clone)]
pub struct Provider {
    pub url: String,
    /// Those that Kapso posts.
    pub webhooks: Arc<Mutex<Vec<Value>>>,
}

impl Provider {
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            webhooks: Arc::default(),
        };
        let meta = || {
            Router::new()
                .route("/v24.0/debug_token", get(token))
                .route("/v24.0/{id}", get(number))
                .route("/v24.0/{id}/phone_numbers", get(numbers))
                .route("/v24.0/{id}/subscribed_apps", get(apps))
                .route("/v24.0/{id}/subscriptions", get(subscriptions))
                .route("/v24.0/{id}/messages", axum::routing::post(messages))
        };
        let list = "/platform/v1/whatsapp/phone_numbers/{id}/webhooks";
        let router = meta()
            .nest("/meta/whatsapp", meta())
            .route(list, get(webhooks).post(make))
            .route(&format!("{list}/{{webhook}}"), patch(change))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    /// As arguments: everybody's API is here.
    pub fn settings(&self) -> [String; 2] {
        [
            format!("--whatsapp-api-base-url={}", self.url),
            format!("--kapso-api-base-url={}", self.url),
        ]
    }

    pub fn webhooks(&self) -> Vec<Value> {
        self.webhooks.lock().unwrap().clone()
    }
}

fn refused() -> Response {
    let error = json!({ "error": { "code": 190, "message": "Invalid OAuth access token." } });
    (StatusCode::UNAUTHORIZED, Json(error)).into_response()
}

fn is_ours(headers: &HeaderMap) -> bool {
    let sent = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = sent("authorization").and_then(|text| text.strip_prefix("Bearer "));
    bearer == Some(TOKEN) || sent("x-api-key") == Some(TOKEN)
}

fn only_ours(headers: &HeaderMap, answer: Value) -> Response {
    match is_ours(headers) {
        true => Json(answer).into_response(),
        false => refused(),
    }
}

async fn token(headers: HeaderMap) -> Response {
    let scope = "whatsapp_business_messaging";
    let granted = json!([{ "scope": scope, "target_ids": ["102"] }]);
    let token = json!({ "app_id": APP, "is_valid": true, "scopes": [scope], "expires_at": 0,
                        "granular_scopes": granted });
    only_ours(&headers, json!({ "data": token }))
}

async fn number(headers: HeaderMap, Path(id): Path<String>) -> Response {
    let dialled = "+1 555-078-3881";
    only_ours(
        &headers,
        json!({ "id": id, "display_phone_number": dialled }),
    )
}

async fn numbers(headers: HeaderMap) -> Response {
    only_ours(&headers, json!({ "data": [{ "id": "222" }] }))
}

async fn apps(headers: HeaderMap) -> Response {
    let app = json!({ "whatsapp_business_api_data": { "id": APP } });
    only_ours(&headers, json!({ "data": [app] }))
}

async fn subscriptions(headers: HeaderMap) -> Response {
    let sent = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let own = format!("Bearer {APP}|{SECRET}");
    let ours = json!({ "object": "whatsapp_business_account", "active": true,
                       "fields": [{ "name": "messages" }] });
    match sent == Some(own.as_str()) {
        true => Json(json!({ "data": [ours] })).into_response(),
        false => refused(),
    }
}

async fn messages(headers: HeaderMap) -> Response {
    only_ours(&headers, json!({ "messages": [{ "id": "wamid.test" }] }))
}

async fn webhooks(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    only_ours(&headers, json!({ "data": provider.webhooks() }))
}

async fn make(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Json(wish): Json<Value>,
) -> Response {
    if !is_ours(&headers) {
        return refused();
    }
    let mut webhooks = provider.webhooks.lock().unwrap();
    let mut webhook = wish["whatsapp_webhook"].clone();
    webhook["id"] = json!(format!("webhook-{}", webhooks.len()));
    webhooks.push(webhook.clone());
    Json(json!({ "data": webhook })).into_response()
}

async fn change(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Path((_number, id)): Path<(String, String)>,
    Json(wish): Json<Value>,
) -> Response {
    if !is_ours(&headers) {
        return refused();
    }
    let mut webhooks = provider.webhooks.lock().unwrap();
    let webhook = webhooks
        .iter_mut()
        .find(|one| one["id"] == json!(id))
        .unwrap();
    for (name, value) in wish["whatsapp_webhook"].as_object().unwrap() {
        webhook[name] = value.clone();
    }
    Json(json!({ "data": webhook })).into_response()
}
