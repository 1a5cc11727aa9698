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
/// Of the registration of webhooks.
pub const WORD: &str = "good-word";
const APP: &str = "4711";

#[derive(Clone)]
pub struct Provider {
    pub url: String,
    /// Those that Kapso posts.
    pub webhooks: Arc<Mutex<Vec<Value>>>,
    /// WhatsApp's own list of who is blocked, in the order in which they came on it.
    pub blocked: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            webhooks: Arc::default(),
            blocked: Arc::default(),
        };
        let meta = || {
            Router::new()
                .route("/v24.0/debug_token", get(token))
                .route("/v24.0/{id}", get(number).post(redirect))
                .route("/v24.0/{id}/phone_numbers", get(numbers))
                .route("/v24.0/{id}/subscribed_apps", get(apps))
                .route("/v24.0/{id}/message_templates", get(templates))
                .route("/v24.0/{id}/subscriptions", get(subscriptions))
                .route("/v24.0/{id}/messages", axum::routing::post(messages))
                .route(
                    "/v24.0/{id}/block_users",
                    axum::routing::post(block).delete(unblock),
                )
        };
        let list = "/platform/v1/whatsapp/phone_numbers/{id}/webhooks";
        let router = meta()
            .nest("/meta/whatsapp", meta())
            .route(list, get(webhooks).post(make))
            .route("/platform/v1/whatsapp/phone_numbers/{id}", get(told))
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

/// Meta asks for the word there, and here only one is known.
async fn redirect(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Json(wish): Json<Value>,
) -> Response {
    if !is_ours(&headers) {
        return refused();
    }
    let wish = wish["webhook_configuration"].clone();
    if wish["verify_token"] != WORD {
        let error = json!({ "error": { "code": 2200, "message": "Callback verification failed" } });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    provider.webhooks.lock().unwrap().push(wish);
    Json(json!({ "success": true })).into_response()
}

async fn numbers(headers: HeaderMap) -> Response {
    only_ours(&headers, json!({ "data": [{ "id": "222" }] }))
}

async fn apps(headers: HeaderMap) -> Response {
    let app = json!({ "whatsapp_business_api_data": { "id": APP } });
    only_ours(&headers, json!({ "data": [app] }))
}

/// Of Kapso's own API.
async fn told(headers: HeaderMap, Path(id): Path<String>) -> Response {
    let told = json!({ "phone_number_id": id, "business_account_id": "102" });
    only_ours(&headers, json!({ "data": told }))
}

/// One that goes out, and one that is looked at by Meta still.
async fn templates(headers: HeaderMap, Path(account): Path<String>) -> Response {
    let body = json!([{ "type": "BODY", "text": "Your assistant has something for you" }]);
    let of = |language: &str, status: &str| {
        json!({ "name": "assistant_waiting", "language": language, "status": status,
                "components": body })
    };
    let all = json!([of("en_US", "APPROVED"), of("de", "PENDING")]);
    let ours = if account == "102" { all } else { json!([]) };
    only_ours(&headers, json!({ "data": ours }))
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

/// Of somebody who has not written lately, as WhatsApp sees it.
pub const LONG_SILENT: &str = "+16505559999";

fn whom(asked: &Value) -> String {
    let user = &asked["block_users"][0];
    let named = user["user"].as_str().or_else(|| user["user_id"].as_str());
    named.unwrap().to_owned()
}

async fn block(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    if !is_ours(&headers) {
        return refused();
    }
    let whom = whom(&asked);
    if whom == LONG_SILENT {
        let failed = json!({ "block_users": { "added_users": [], "failed_users": [{ "input": whom }] },
                             "error": { "code": 139100, "message": "Failed to block some users" } });
        return (StatusCode::BAD_REQUEST, Json(failed)).into_response();
    }
    let mut blocked = provider.blocked.lock().unwrap();
    if !blocked.contains(&whom) {
        blocked.push(whom.clone());
    }
    Json(json!({ "block_users": { "added_users": [{ "input": whom }] } })).into_response()
}

async fn unblock(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    if !is_ours(&headers) {
        return refused();
    }
    let whom = whom(&asked);
    provider.blocked.lock().unwrap().retain(|one| *one != whom);
    Json(json!({ "block_users": { "removed_users": [{ "input": whom }] } })).into_response()
}
