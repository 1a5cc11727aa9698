//! `GET /{version}/{phone_number_id}/messages` of Kapso's proxy: what it keeps of messages in both
//! directions, whether or not its webhook brought them (Kapso docs: WhatsApp API, list messages).
//!
//! The newest first, at most 100 in a page, with an opaque cursor to the next one; `since` and `until`
//! are ISO 8601 and both included. Meta has no such list.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{ConnectInfo, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Inner, Through, Whatsapp, fault::Fault, fault::On, graph, kapso, state, webhook::list,
};
use crate::{Then, server::Line};

/// Without `limit`, and the most of it.
const USUAL: usize = 20;
const MOST: usize = 100;

/// One page that somebody was given.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// What was asked for, as it stood in the address.
    pub query: BTreeMap<String, String>,
    pub count: usize,
}

/// All that is kept for lists.
#[derive(Debug, Default)]
pub struct Keeping {
    pub listings: Vec<Listing>,
    /// As listed, in the order in which they came.
    messages: Vec<Value>,
    /// Kapso has paused its webhook: what happens is kept, and nobody is told, then or later.
    pub(super) paused: bool,
}

impl Whatsapp {
    /// From now on webhooks are not posted, and those that are retried are given up.
    pub fn pause_webhooks(&self) {
        self.change(|state| state.keeping.paused = true);
    }

    pub fn resume_webhooks(&self) {
        self.change(|state| state.keeping.paused = false);
    }
}

impl Keeping {
    /// What a webhook is about is kept; of what is known already only what is new of it.
    pub(super) fn keep(&mut self, message: &Value) {
        let known = self
            .messages
            .iter_mut()
            .find(|known| known["id"] == message["id"]);
        let Some(known) = known else {
            self.messages.push(message.clone());
            return;
        };
        let told = &message["kapso"];
        if told["direction"] == "outbound" {
            known["kapso"]["status"] = told["status"].clone();
            let before: Vec<_> = list(&known["kapso"]["statuses"]).cloned().collect();
            let is_new = |status: &&Value| {
                let mut known = before.iter();
                !known.any(|known| known["status"] == status["status"])
            };
            let new = list(&told["statuses"]).filter(is_new).cloned();
            known["kapso"]["statuses"] = before.iter().cloned().chain(new).collect();
        }
    }

    fn find(&self, asked: &Asked) -> Option<(Vec<Value>, Option<String>)> {
        let at = |message: &Value| -> i64 {
            let seconds = message["timestamp"].as_str().unwrap_or_default();
            seconds.parse().unwrap_or_default()
        };
        let mut found: Vec<_> = self
            .messages
            .iter()
            .filter(|message| {
                let direction = &message["kapso"]["direction"];
                asked
                    .direction
                    .as_ref()
                    .is_none_or(|wish| direction == wish)
            })
            .filter(|message| {
                asked
                    .since
                    .is_none_or(|since| at(message) >= since.timestamp())
            })
            .filter(|message| {
                asked
                    .until
                    .is_none_or(|until| at(message) <= until.timestamp())
            })
            .collect();
        found.reverse();
        found.sort_by_key(|message| Reverse(at(message)));
        let from = match &asked.after {
            None => 0,
            Some(cursor) => {
                let id = String::from_utf8(BASE64_STANDARD.decode(cursor).ok()?).ok()?;
                1 + found.iter().position(|message| message["id"] == *id)?
            }
        };
        let page: Vec<_> = found.iter().skip(from).take(asked.limit).collect();
        let is_last = from + page.len() >= found.len();
        let last = page.last().and_then(|message| message["id"].as_str());
        let after = last
            .filter(|_| !is_last)
            .map(|id| BASE64_STANDARD.encode(id));
        let page = page
            .into_iter()
            .map(|message| asked.with_fields(Value::clone(message)));
        Some((page.collect(), after))
    }
}

struct Asked {
    direction: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    limit: usize,
    after: Option<String>,
    extended: bool,
}

impl Asked {
    /// `None`: with something that Kapso does not understand.
    fn read(query: &BTreeMap<String, String>) -> Option<Self> {
        let time = |name: &str| match query.get(name) {
            None => Some(None),
            Some(text) => text.parse().ok().map(Some),
        };
        let direction = query.get("direction").cloned();
        let limit = query.get("limit").map_or(Ok(USUAL), |limit| limit.parse());
        let limit = limit.ok().filter(|limit| (1..=MOST).contains(limit))?;
        let known = ["inbound", "outbound"];
        let is_known = |wish: &String| known.contains(&wish.as_str());
        direction.as_ref().is_none_or(is_known).then_some(())?;
        let fields = query.get("fields").map_or("", String::as_str);
        Some(Self {
            direction,
            since: time("since")?,
            until: time("until")?,
            limit,
            after: query.get("after").cloned(),
            extended: matches!(fields, "kapso(default)" | "kapso(*)" | "kapso(all)"),
        })
    }

    /// Meta's own fields, and Kapso's for who asks for them.
    fn with_fields(&self, mut message: Value) -> Value {
        if let Some(fields) = message.as_object_mut().filter(|_| !self.extended) {
            fields.remove("kapso");
        }
        message
    }
}

pub(super) async fn messages(
    State(sim): State<Arc<Inner>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path((_version, id)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if sim.settings.through == Through::Meta {
        return graph::unknown_path().await;
    }
    if graph::token(&sim, &headers) != sim.settings.access_token {
        return refusal(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    if id != sim.settings.phone_number_id {
        return refusal(StatusCode::NOT_FOUND, "Phone number not found");
    }
    let on = match query.contains_key("after") {
        false => On::List,
        true => On::NextPage,
    };
    let mut fault = None;
    sim.state
        .send_modify(|state| fault = state.program.fault_for(on, None));
    match fault {
        Some(Fault::Http { status }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            // By the minute, as Kapso counts; a test has no minutes.
            let header = [(header::RETRY_AFTER, "1")];
            return (status, header, Html("<html>Sorry</html>")).into_response();
        }
        Some(Fault::Garbage) => return "<html>{\"data\":[".into_response(),
        Some(Fault::Hold { gate }) if sim.gates.pass(&gate).await != Then::Go => {
            match line.cut().await {}
        }
        Some(Fault::Drop) => match line.cut().await {},
        _ => {}
    }
    let Some(asked) = Asked::read(&query) else {
        return refusal(StatusCode::BAD_REQUEST, "Invalid parameter");
    };
    let mut found = None;
    sim.state.send_modify(|state| {
        found = state.keeping.find(&asked);
        if let Some((page, _)) = &found {
            state.keeping.listings.push(Listing {
                query,
                count: page.len(),
            });
        }
    });
    let Some((data, after)) = found else {
        return refusal(StatusCode::BAD_REQUEST, "Invalid cursor");
    };
    let next = after.as_ref().map(|after| format!("?after={after}"));
    Json(json!({
        "data": data,
        "paging": { "cursors": { "before": null, "after": after }, "next": next, "previous": null },
    }))
    .into_response()
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

impl Inner {
    pub(super) fn is_paused(&self) -> bool {
        self.state.borrow().keeping.paused
    }

    /// Kapso keeps what it posts webhooks about.
    pub(super) fn keep(&self, body: &[u8]) {
        if self.settings.through == Through::Kapso {
            for message in kapso::told_in(body) {
                self.state.send_modify(|state| state.keeping.keep(&message));
            }
        }
    }

    /// What it sent for us, before anything became of it.
    pub(super) fn keep_sent(&self, sent: &state::Bubble) {
        if self.settings.through == Through::Kapso {
            let message = json!({
                "id": sent.wamid,
                "timestamp": sent.at.timestamp().to_string(),
                "type": "text",
                "to": sent.person.phone,
                "text": { "body": sent.text },
                "kapso": {
                    "direction": "outbound", "status": "pending", "origin": "cloud_api",
                    "has_media": false, "statuses": [],
                },
            });
            self.state.send_modify(|state| state.keeping.keep(&message));
        }
    }
}
