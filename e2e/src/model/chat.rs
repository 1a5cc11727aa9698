//! The one endpoint: records a request, finds its rule and answers as that says.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use futures_util::stream;
use serde_json::{Value, json};

use super::{
    End, Inner, Request,
    rule::{At, Hold, Reply, Rule, own_answer},
    stream::Frame,
    transcript::Pending,
};
use crate::{Then, server::Line};

/// Long enough for what was sent to leave the machine before a connection is broken.
const FLUSH: Duration = Duration::from_millis(30);

/// What the tests and `up.sh` call the model; it answers to any name.
const MODELS: [&str; 2] = ["simulated", "scripted"];

/// How one request is to be answered.
struct Plan {
    reply: Reply,
    hold: Option<Hold>,
    pace: Duration,
}

pub(super) async fn any(
    State(sim): State<Arc<Inner>>,
    ConnectInfo(line): ConnectInfo<Line>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != Method::POST || !uri.path().ends_with("/chat/completions") {
        return error(StatusCode::NOT_FOUND, "there is nothing at this path");
    }
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    let pending = json.as_ref().map(Pending::read).unwrap_or_default();
    let request = Watched::begin(&sim, &uri, &headers, &body, json.as_ref(), &pending);

    if !has_key(&sim, &headers) {
        return request.refuse(StatusCode::UNAUTHORIZED, "incorrect API key provided");
    }
    let Some(json) = json else {
        return request.refuse(StatusCode::BAD_REQUEST, "the body is not valid JSON");
    };
    let has_messages = json["messages"]
        .as_array()
        .is_some_and(|rows| !rows.is_empty());
    if !json["model"].is_string() || !has_messages {
        return request.refuse(StatusCode::BAD_REQUEST, "model and messages are required");
    }

    let plan = plan(&sim, &pending);
    let streams = json["stream"] == true;
    // Without a stream there is no first token to wait after.
    if let Some(hold) = plan
        .hold
        .as_ref()
        .filter(|hold| hold.at == At::Start || !streams)
        && sim.gates.pass(&hold.gate).await != Then::Go
    {
        request.end(End::Broken);
        return cut(line).await;
    }
    let frame = Frame {
        id: format!("chatcmpl-{}", request.number),
        model: json["model"].as_str().unwrap_or_default().to_owned(),
        created: Utc::now().timestamp(),
        prompt_tokens: body.len() / 4,
        with_usage: json["stream_options"]["include_usage"] == true,
    };
    match &plan.reply {
        Reply::Fail(status) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            request.refuse(status, "the simulated model fails as it was told to")
        }
        _ if streams => streamed(request, &frame, plan, line),
        // Without a stream there is no middle to break off in.
        Reply::Break(_) => {
            request.end(End::Broken);
            cut(line).await
        }
        reply => {
            request.answer(reply);
            request.end(End::Answered(200));
            Json(frame.completion(reply)).into_response()
        }
    }
}

fn has_key(sim: &Inner, headers: &HeaderMap) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    sent.and_then(|value| value.strip_prefix("Bearer ")) == Some(&sim.settings.key)
}

/// What there is to choose from.
pub(super) async fn models(State(sim): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    if !has_key(&sim, &headers) {
        return error(StatusCode::UNAUTHORIZED, "incorrect API key provided");
    }
    let model = |id| json!({ "id": id, "object": "model", "created": 0, "owned_by": "clawkaka" });
    Json(json!({ "object": "list", "data": MODELS.map(model) })).into_response()
}

/// The first rule that meets the request, with one use of it less.
fn plan(sim: &Inner, pending: &Pending) -> Plan {
    let mut plan = Plan {
        reply: Reply::Text(own_answer(pending)),
        hold: None,
        pace: Duration::ZERO,
    };
    sim.state.send_modify(|state| {
        let Some(rule) = state.rules.iter_mut().find(|rule| rule.meets(pending)) else {
            return;
        };
        plan = Plan {
            reply: rule.reply(pending),
            hold: rule.hold.clone(),
            pace: Duration::from_millis(rule.pace_ms),
        };
        spend(rule, &plan.reply);
    });
    plan
}

fn spend(rule: &mut Rule, reply: &Reply) {
    if let (Some(left), false) = (&mut rule.times, matches!(reply, Reply::Tools(_))) {
        *left = left.saturating_sub(1);
    }
}

fn streamed(request: Watched, frame: &Frame, plan: Plan, line: Line) -> Response {
    request.answer(&plan.reply);
    let events = frame.events(&plan.reply).into_iter().enumerate();
    let whole = !matches!(plan.reply, Reply::Break(_));
    let from = (events, request, plan, Some(line));
    let body = stream::unfold(
        from,
        move |(mut events, request, plan, mut line)| async move {
            let Some((place, event)) = events.next() else {
                if whole {
                    request.end(End::Answered(200));
                } else if let Some(line) = line.take() {
                    request.end(End::Broken);
                    tokio::time::sleep(FLUSH).await;
                    match line.cut().await {}
                }
                return None;
            };
            // The first event only says who speaks; the second has the first word.
            if let Some(hold) = plan
                .hold
                .as_ref()
                .filter(|hold| hold.at == At::FirstToken && place == 2)
                && request.sim.gates.pass(&hold.gate).await != Then::Go
            {
                request.end(End::Broken);
                if let Some(line) = line.take() {
                    match line.cut().await {}
                }
            }
            // Even a sleep of nothing takes a millisecond.
            if place > 0 && !plan.pace.is_zero() {
                tokio::time::sleep(plan.pace).await;
            }
            Some((Ok::<_, io::Error>(event), (events, request, plan, line)))
        },
    );
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

async fn cut(line: Line) -> Response {
    let never: Infallible = line.cut().await;
    match never {}
}

fn error(status: StatusCode, message: &str) -> Response {
    let kind = match status.as_u16() {
        401 => "invalid_api_key",
        429 => "rate_limit_exceeded",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let body = json!({"error": {"message": message, "type": kind, "code": kind, "param": null}});
    (status, Json(body)).into_response()
}

/// A request on record; if it is dropped while open, its caller has left.
struct Watched {
    sim: Arc<Inner>,
    number: usize,
}

impl Watched {
    fn begin(
        sim: &Arc<Inner>,
        uri: &Uri,
        headers: &HeaderMap,
        raw: &Bytes,
        body: Option<&Value>,
        pending: &Pending,
    ) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let headers = headers.collect();
        let mut number = 0;
        sim.state.send_modify(|state| {
            number = state.requests.len();
            state.requests.push(Request {
                number,
                at: Utc::now(),
                path: uri.path().to_owned(),
                headers,
                body: body
                    .cloned()
                    .unwrap_or_else(|| Value::String(String::from_utf8_lossy(raw).into_owned())),
                bytes: raw.len(),
                pending: pending.texts.clone(),
                answer: None,
                end: End::Open,
            });
        });
        Self {
            sim: sim.clone(),
            number,
        }
    }

    fn answer(&self, reply: &Reply) {
        if let Reply::Text(text) | Reply::Break(text) = reply {
            let text = Some(text.clone());
            self.sim
                .state
                .send_modify(|state| state.requests[self.number].answer = text);
        }
    }

    fn end(&self, end: End) {
        self.sim.state.send_modify(|state| {
            let request = &mut state.requests[self.number];
            if request.end == End::Open {
                request.end = end;
            }
        });
    }

    fn refuse(&self, status: StatusCode, message: &str) -> Response {
        self.end(End::Answered(status.as_u16()));
        error(status, message)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(End::Left);
    }
}
