//! `POST|DELETE /{version}/{phone_number_id}/block_users`: who cannot write to the number any more.
//!
//! As Meta documents it: only who wrote within the last 24 hours can be put on the list, and where one of
//! several is not taken the whole answer is an error.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    Inner,
    error::{GraphError, title},
    graph::check,
    state::{self, Side},
};

const NOT_TAKEN: i64 = 139100;

pub(super) async fn users(
    State(sim): State<Arc<Inner>>,
    Path((version, phone_number_id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Result<Response, GraphError> {
    check(&sim, &version, &phone_number_id, &headers)?;
    if asked["messaging_product"] != "whatsapp" {
        return Err(GraphError::missing("messaging_product"));
    }
    let users = asked["block_users"].as_array();
    let users = users.ok_or_else(|| GraphError::missing("block_users"))?;
    let named = users.iter().map(|user| {
        let named = user["user"].as_str().or_else(|| user["user_id"].as_str());
        named.ok_or_else(|| GraphError::missing("block_users[0]['user']"))
    });
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    sim.state.send_modify(|state| {
        for address in named {
            if method == Method::DELETE {
                state.blocked.retain(|one| one != address);
                done.push(address.to_owned());
            } else if wrote_lately(state, address) {
                if !state.blocked.iter().any(|one| one == address) {
                    state.blocked.push(address.to_owned());
                }
                done.push(address.to_owned());
            } else {
                failed.push(address.to_owned());
            }
        }
    });
    let all = |addresses: &[String]| -> Value {
        addresses
            .iter()
            .map(|one| json!({ "input": one }))
            .collect()
    };
    let list = match method == Method::DELETE {
        true => "removed_users",
        false => "added_users",
    };
    let mut answer = json!({ "messaging_product": "whatsapp",
                             "block_users": { list: all(&done), "failed_users": all(&failed) } });
    if failed.is_empty() {
        return Ok(Json(answer).into_response());
    }
    answer["error"] =
        json!({ "code": NOT_TAKEN, "message": title(NOT_TAKEN), "type": "OAuthException" });
    Ok((StatusCode::BAD_REQUEST, Json(answer)).into_response())
}

fn wrote_lately(state: &state::State, address: &str) -> bool {
    let since = Utc::now() - TimeDelta::hours(24);
    let person = state.person_at(address);
    let mut said = state.conversation(&person);
    said.any(|bubble| bubble.side == Side::Person && bubble.at > since)
}
