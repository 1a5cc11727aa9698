//! Kapso's list of messages in a hundred lines: it has some, filters and pages them, and misbehaves as
//! it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::whatsapp::provider::{Api, Provider};

/// An answer in place of the list.
pub enum Reply {
    Text(u16, &'static str),
    /// 429, with a `Retry-After`.
    Wait(u64),
    /// One message and always the same cursor.
    Circle,
    /// Pages without end, each with another cursor and the same message.
    Endless,
}

#[derive(Default)]
pub struct Inner {
    pub messages: Mutex<Vec<Value>>,
    /// The first comes first; afterwards the list itself.
    pub replies: Mutex<VecDeque<Reply>>,
    /// What was asked, query by query.
    pub asked: Mutex<Vec<BTreeMap<String, String>>>,
    /// Kapso lists the newest first; this one the oldest.
    pub ascending: Mutex<bool>,
    /// It lists messages of any time, whatever is asked for.
    pub timeless: Mutex<bool>,
    /// It lists nothing that was sent.
    pub inbound_only: Mutex<bool>,
}

pub struct Kapso {
    pub inner: Arc<Inner>,
    pub api: Api,
}

impl Kapso {
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let inner = Arc::new(Inner::default());
        let router = Router::new()
            .route("/meta/whatsapp/v24.0/2/messages", routing::get(list))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let api = Api {
            provider: Provider::Kapso,
            base_url: format!("http://{address}/").parse().unwrap(),
            version: "v24.0".to_owned(),
        };
        Self { inner, api }
    }

    pub fn has(&self, message: Value) {
        self.inner.messages.lock().unwrap().push(message);
    }

    pub fn replies(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner.replies.lock().unwrap().extend(replies);
    }

    pub fn refuses_outbound(&self) {
        *self.inner.inbound_only.lock().unwrap() = true;
    }

    /// The queries of one direction so far.
    pub fn asked(&self, direction: &str) -> Vec<BTreeMap<String, String>> {
        let asked = self.inner.asked.lock().unwrap();
        let of_it = |query: &&BTreeMap<_, _>| query["direction"] == direction;
        asked.iter().filter(of_it).cloned().collect()
    }
}

pub fn inbound(wamid: &str, at: DateTime<Utc>) -> Value {
    json!({
        "id": wamid, "timestamp": at.timestamp().to_string(), "type": "text",
        "text": { "body": wamid }, "from": "15551234567",
        "kapso": { "direction": "inbound", "status": "received", "origin": "cloud_api",
                   "phone_number": "+15551234567", "contact_name": "John" },
    })
}

async fn list(
    State(kapso): State<Arc<Inner>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    kapso.asked.lock().unwrap().push(query.clone());
    let page = kapso.asked.lock().unwrap().len();
    if query["direction"] == "outbound" && *kapso.inbound_only.lock().unwrap() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let mut replies = kapso.replies.lock().unwrap();
    let paged = |data: &[Value], after: Option<String>| {
        Json(json!({ "data": data, "paging": { "cursors": { "after": after } } })).into_response()
    };
    let again = json!({ "id": "wamid.again", "kapso": { "direction": query["direction"] } });
    match replies.front() {
        Some(Reply::Circle) => return paged(&[again], Some("round".to_owned())),
        Some(Reply::Endless) => return paged(&[again], Some(page.to_string())),
        _ => {}
    }
    match replies.pop_front() {
        Some(Reply::Text(status, body)) => {
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
        Some(Reply::Wait(seconds)) => {
            let header = [("Retry-After", seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, header, "").into_response();
        }
        _ => {}
    }
    let time = |name: &str| -> Option<i64> {
        let time: DateTime<Utc> = query.get(name)?.parse().unwrap();
        Some(time.timestamp())
    };
    let (since, until) = (time("since").unwrap(), time("until").unwrap_or(i64::MAX));
    let timeless = *kapso.timeless.lock().unwrap();
    let messages = kapso.messages.lock().unwrap();
    let mut found: Vec<_> = messages
        .iter()
        .filter(|one| one["kapso"]["direction"] == query["direction"].as_str())
        .filter(|one| {
            let at: i64 = one["timestamp"].as_str().unwrap().parse().unwrap();
            timeless || (since..=until).contains(&at)
        })
        .cloned()
        .collect();
    if !*kapso.ascending.lock().unwrap() {
        found.reverse();
    }
    let limit: usize = query["limit"].parse().unwrap();
    assert!(limit <= 100, "Kapso gives no more than 100");
    let from: usize = query.get("after").map_or(0, |after| after.parse().unwrap());
    let page: Vec<_> = found.iter().skip(from).take(limit).cloned().collect();
    let after = (!page.is_empty()).then(|| (from + page.len()).to_string());
    paged(&page, after)
}
