//! `POST /{version}/{phone_number_id}/messages`: checks a call, lets its fault happen, takes it.
//!
//! A call goes on when its caller has died, as it would at Meta: it runs in a task of its own, and
//! the handler only waits for the answer.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    Inner, Through,
    error::GraphError,
    fault::{Fault, On, Receipt},
    kapso,
    outgoing::Shown,
    person::{digits, is_user_id},
    receipt::{self, Sent},
    request::{self, Request},
    state::{Call, CallKind, End, Ticks},
    webhook::new_wamid,
};
use crate::{Then, server::Line};

/// `None` is a connection that is cut.
type Answer = Option<Response>;

pub(super) async fn messages(
    State(sim): State<Arc<Inner>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path((version, phone_number_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let checked = check(&sim, &version, &phone_number_id, &headers);
    let checked = checked.and_then(|()| is_json(&headers));
    let call = sim.spawn(answer(sim.clone(), checked, body));
    match call.await {
        Ok(Some(Some(response))) => response,
        _ => match line.cut().await {},
    }
}

pub(super) async fn unknown_path() -> Response {
    let details = "Unknown path components".to_owned();
    GraphError {
        details,
        ..GraphError::of(2500)
    }
    .into_response()
}

pub(super) fn check(
    sim: &Inner,
    version: &str,
    phone_number_id: &str,
    headers: &HeaderMap,
) -> Result<(), GraphError> {
    if token(sim, headers) != sim.settings.access_token {
        return Err(GraphError::of(190));
    }
    let numbers = version
        .strip_prefix('v')
        .and_then(|version| version.split_once('.'));
    if !numbers.is_some_and(|(major, minor)| is_number(major) && is_number(minor)) {
        return Err(GraphError::parameter(format!("Unknown version {version}.")));
    }
    if phone_number_id != sim.settings.phone_number_id {
        let details = format!("Object with ID '{phone_number_id}' does not exist.");
        return Err(GraphError::parameter(details));
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> Result<(), GraphError> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"));
    if is_json {
        Ok(())
    } else {
        Err(GraphError::parameter("The body must be JSON."))
    }
}

/// What a caller shows that it is allowed to.
pub(super) fn token<'a>(sim: &Inner, headers: &'a HeaderMap) -> &'a str {
    let sent = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let token = match sim.settings.through {
        Through::Meta => {
            sent(header::AUTHORIZATION.as_str()).and_then(|sent| sent.strip_prefix("Bearer "))
        }
        Through::Kapso => sent(kapso::KEY_HEADER),
    };
    token.unwrap_or_default()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

async fn answer(sim: Arc<Inner>, checked: Result<(), GraphError>, body: Bytes) -> Answer {
    let json = serde_json::from_slice(&body);
    let raw = match &json {
        Ok(value) => Value::clone(value),
        Err(_) => Value::String(String::from_utf8_lossy(&body).into_owned()),
    };
    let request = checked.and_then(|()| match &json {
        Ok(value) => request::read(value),
        Err(_) => Err(GraphError::parameter("The body is not valid JSON.")),
    });
    let (call, fault) = begin(&sim, raw, request.as_ref().ok());
    let answer = match request {
        Ok(request) => meet(&sim, call, &request, fault).await,
        Err(error) => Some(error.into_response()),
    };
    let end = match &answer {
        Some(response) => End::Answered(response.status().as_u16()),
        None => End::Cut,
    };
    sim.state.send_modify(|state| state.end_call(call, end));
    answer
}

/// Records the call and finds out which fault it meets, in one step.
fn begin(sim: &Inner, body: Value, request: Option<&Request>) -> (usize, Option<Fault>) {
    let mut begun = (0, None);
    sim.state.send_modify(|state| {
        let (kind, on) = match request {
            Some(Request::Message { .. }) => (CallKind::Message, On::Message),
            Some(Request::MarkRead { .. }) => (CallKind::Mark, On::Mark),
            None => (CallKind::Invalid, On::Any),
        };
        let person = match request {
            Some(Request::Message { to, .. }) => Some(state.person_at(to)),
            Some(Request::MarkRead { wamid, .. }) => {
                let marked = state.bubbles.iter().find(|bubble| bubble.wamid == *wamid);
                marked.map(|bubble| bubble.person.clone())
            }
            None => None,
        };
        let (text, callback) = match request {
            Some(Request::Message {
                shown, callback, ..
            }) => (Some(shown.text.clone()), callback.clone()),
            _ => (None, None),
        };
        let fault = request.and_then(|_| state.program.fault_for(on, person.as_ref()));
        let call = Call {
            number: 0,
            at: Utc::now(),
            body,
            kind,
            person,
            text,
            callback,
            taken: false,
            wamid: None,
            end: End::Open,
        };
        begun = (state.begin_call(call), fault);
    });
    begun
}

async fn meet(sim: &Arc<Inner>, call: usize, request: &Request, fault: Option<Fault>) -> Answer {
    match fault {
        None => Some(take(sim, call, request)),
        Some(Fault::Delay { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Some(take(sim, call, request))
        }
        Some(Fault::Error { code, status }) => {
            let error = GraphError::of(code);
            let status = status.unwrap_or(error.status);
            Some(GraphError { status, ..error }.into_response())
        }
        Some(Fault::Http { status }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            Some(
                (
                    status,
                    Html("<html><body>Sorry, something went wrong.</body></html>"),
                )
                    .into_response(),
            )
        }
        Some(Fault::Garbage) => {
            take(sim, call, request);
            Some("<html>{\"messages\":[".into_response())
        }
        Some(Fault::Drop) => None,
        Some(Fault::TakeAndDrop) => {
            take(sim, call, request);
            None
        }
        Some(Fault::Hold { gate }) => match sim.gates.pass(&gate).await {
            Then::Go => Some(take(sim, call, request)),
            Then::Drop => None,
            Then::GoAndDrop => {
                take(sim, call, request);
                None
            }
        },
        Some(Fault::HoldAnswer { gate }) => {
            let answer = take(sim, call, request);
            (sim.gates.pass(&gate).await == Then::Go).then_some(answer)
        }
    }
}

fn take(sim: &Arc<Inner>, call: usize, request: &Request) -> Response {
    let taken = match request {
        Request::Message { to, shown, .. } => take_message(sim, call, to, shown),
        Request::MarkRead { wamid, typing } => take_mark(sim, call, wamid, *typing),
    };
    taken.unwrap_or_else(GraphError::into_response)
}

fn take_message(
    sim: &Arc<Inner>,
    call: usize,
    to: &str,
    shown: &Shown,
) -> Result<Response, GraphError> {
    let wamid = new_wamid();
    let mut taken = Err(GraphError::of(131056));
    sim.state.send_modify(|state| {
        let person = state.person_at(to);
        if !state.has(shown) {
            taken = Err(GraphError::of(131009));
            return;
        }
        if let Some(rate) = state.program.pair_rate {
            let sent: Vec<_> = state.chat(&person).map(|bubble| bubble.at).collect();
            if !rate.allows(&sent, Utc::now()) {
                return;
            }
        }
        let in_hand = state.is_in_hand(&person);
        let receipts = state
            .program
            .receipts_for(&person, in_hand, shown.is_template);
        let reaches = if receipts.iter().any(fails) {
            Ticks::Failed
        } else {
            Ticks::None
        };
        state.take_message(call, &wamid, reaches);
        taken = Ok((person, receipts, state.calls[call].callback.clone()));
    });
    let (person, receipts, callback) = taken?;
    let sent = sim
        .state
        .borrow()
        .bubbles
        .iter()
        .rev()
        .find(|one| one.wamid == wamid)
        .cloned();
    if let Some(sent) = sent {
        sim.keep_sent(&sent);
    }
    // Graph tells nobody's number to those who wrote to a user id.
    let (person, contact) = if is_user_id(to) {
        (person.without_phone(), json!({"input": to, "user_id": to}))
    } else {
        (person, json!({"input": to, "wa_id": digits(to)}))
    };
    receipt::send_all(
        sim,
        Sent {
            person,
            wamid: wamid.clone(),
            callback,
        },
        receipts,
    );
    let body = json!({
        "messaging_product": "whatsapp",
        "contacts": [contact],
        "messages": [{"id": wamid}],
    });
    Ok(Json(body).into_response())
}

fn fails(receipt: &Receipt) -> bool {
    receipt.status == Ticks::Failed
}

fn take_mark(
    sim: &Arc<Inner>,
    call: usize,
    wamid: &str,
    typing: bool,
) -> Result<Response, GraphError> {
    let lasts = sim.settings.typing_lasts;
    let typing = typing.then(|| TimeDelta::from_std(lasts).unwrap_or(TimeDelta::MAX));
    let mut known = false;
    sim.state
        .send_modify(|state| known = state.take_mark(call, wamid, typing));
    if !known {
        return Err(GraphError::parameter(
            "Param message_id is not a message of this number.",
        ));
    }
    if typing.is_some() {
        // Nothing else happens at the end of typing, so whoever waits for it is woken here.
        let sim_for_task = sim.clone();
        sim.spawn(async move {
            tokio::time::sleep(lasts).await;
            sim_for_task.state.send_modify(|_| {});
        });
    }
    Ok(Json(json!({"success": true})).into_response())
}
