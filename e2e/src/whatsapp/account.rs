//! What Graph tells about us: the token, the number, the business account, the app's webhooks.
//!
//! As Meta documents them: `GET /debug_token`, `/{phone number}`, `/{business account}/phone_numbers`
//! and `/subscribed_apps`, and `/{app}/subscriptions`, which only the app itself may ask, by
//! `{id}|{secret}`. A test changes what there is to tell with [`super::Whatsapp::change_account`].

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Inner, error::GraphError, graph::token, media};

const BUSINESS: [&str; 2] = [
    "whatsapp_business_management",
    "whatsapp_business_messaging",
];

/// What Meta knows of us.
#[derive(Clone, Debug)]
pub struct Account {
    pub app_id: String,
    /// Unix seconds; 0 is never.
    pub token_expires_at: i64,
    pub scopes: Vec<String>,
    /// Whether the business account's webhooks go to our app.
    pub subscribed: bool,
    /// What the app subscribed to; nothing at all without a registered webhook.
    pub fields: Option<Vec<String>>,
    /// How far Graph's clock is ahead.
    pub clock_offset: TimeDelta,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            app_id: "670843887433847".to_owned(),
            token_expires_at: 0,
            scopes: BUSINESS.map(str::to_owned).to_vec(),
            subscribed: true,
            fields: Some(vec!["messages".to_owned()]),
            clock_offset: TimeDelta::zero(),
        }
    }
}

type Answer = Result<Json<Value>, GraphError>;

fn check(sim: &Inner, headers: &HeaderMap) -> Result<Account, GraphError> {
    if token(sim, headers) != sim.settings.access_token {
        return Err(GraphError::of(190));
    }
    Ok(sim.state.borrow().account.clone())
}

fn no_such(id: &str) -> GraphError {
    GraphError::parameter(format!("Object with ID '{id}' does not exist."))
}

pub(super) async fn debug_token(
    State(sim): State<Arc<Inner>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let account = check(&sim, &headers)?;
    let Some(asked) = query.get("input_token") else {
        return Err(GraphError::missing("input_token"));
    };
    if *asked != sim.settings.access_token {
        return Ok(Json(json!({ "data": { "is_valid": false, "scopes": [],
            "error": { "code": 190, "message": "Invalid OAuth access token." } } })));
    }
    let granular: Vec<_> = account
        .scopes
        .iter()
        .map(|scope| json!({ "scope": scope, "target_ids": [sim.settings.business_account_id] }))
        .collect();
    let expires_at = account.token_expires_at;
    Ok(Json(json!({ "data": {
        "app_id": account.app_id,
        "application": "Clawkaka",
        "type": "SYSTEM_USER",
        "data_access_expires_at": 0,
        "expires_at": expires_at,
        "is_valid": expires_at == 0 || expires_at > Utc::now().timestamp(),
        "scopes": account.scopes,
        "granular_scopes": granular,
        "user_id": "10222270944537964",
    } })))
}

pub(super) async fn object(
    State(sim): State<Arc<Inner>>,
    Path((_version, id)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, GraphError> {
    check(&sim, &headers)?;
    if let Some(file) = media::describe(&sim, &id, &headers) {
        media::is_asked_well(&sim, query.get("phone_number_id"))?;
        return Ok(file);
    }
    if id != sim.settings.phone_number_id {
        return Err(no_such(&id));
    }
    let display = &sim.settings.display_phone_number;
    Ok(Json(json!({ "id": id, "display_phone_number": display })).into_response())
}

pub(super) async fn phone_numbers(
    State(sim): State<Arc<Inner>>,
    Path((_version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    check(&sim, &headers)?;
    if id != sim.settings.business_account_id {
        return Err(no_such(&id));
    }
    Ok(Json(
        json!({ "data": [{ "id": sim.settings.phone_number_id }] }),
    ))
}

pub(super) async fn subscribed_apps(
    State(sim): State<Arc<Inner>>,
    Path((_version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let account = check(&sim, &headers)?;
    if id != sim.settings.business_account_id {
        return Err(no_such(&id));
    }
    let app = json!({ "whatsapp_business_api_data": {
        "id": account.app_id,
        "link": format!("https://www.facebook.com/games/?app_id={}", account.app_id),
        "name": "Clawkaka",
    } });
    let apps: Vec<_> = account.subscribed.then_some(app).into_iter().collect();
    Ok(Json(json!({ "data": apps })))
}

pub(super) async fn subscriptions(
    State(sim): State<Arc<Inner>>,
    Path((_version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let account = sim.state.borrow().account.clone();
    let own = format!("{}|{}", account.app_id, sim.settings.app_secret);
    if id != account.app_id || token(&sim, &headers) != own {
        return Err(GraphError::of(190));
    }
    let webhook = |fields: Vec<String>| {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|name| json!({ "name": name, "version": "v24.0" }))
            .collect();
        json!({ "object": "whatsapp_business_account", "active": true, "fields": fields,
                "callback_url": *sim.webhook_url.borrow() })
    };
    let all: Vec<_> = account.fields.map(webhook).into_iter().collect();
    Ok(Json(json!({ "data": all })))
}

/// Graph's clock is in every answer.
pub(super) async fn date(State(sim): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await.into_response();
    let now = Utc::now() + sim.state.borrow().account.clock_offset;
    let now = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(now) = HeaderValue::from_str(&now) {
        response.headers_mut().insert(header::DATE, now);
    }
    response
}
