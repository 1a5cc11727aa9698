//! `POST /llm/v1/chat/completions`: who is it, may they, rebuild, reserve, forward, pass the
//! answer on byte for byte, settle.
//!
//! Nothing of a call is kept but its size and cost. Back-pressure is the sockets' own: the next
//! piece is read from the provider when the sandbox has taken the last one. When the sandbox hangs
//! up, everything here is dropped, and with it the call upstream.

use axum::{
    Extension,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use futures_util::{Stream, stream};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tracing::field;

use super::{
    Broker, Peer, Shared,
    call::Call,
    caller::{self, Caller},
    refusal::Refusal,
    request::{self, Rebuilt},
    usage,
};
use crate::{id::CallId, turn};

/// A request's body: OpenClaw's own are some tens of kilobytes, pictures make the rest.
const MAX_BODY: usize = 4 << 20;
/// What is read of a provider's error, and what is passed on of it.
const MAX_ERROR_READ: usize = 64 * 1024;
const MAX_ERROR: usize = 2 * 1024;
/// What counts as one turn when none is active: heartbeats of its own, late answers.
const WITHOUT_TURN: TimeDelta = TimeDelta::minutes(10);

/// The handler.
pub(super) async fn complete(
    State(shared): State<Shared>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let broker = &shared.broker;
    let found = caller::identify(&broker.db, request.headers(), peer, &broker.address_of).await;
    let (caller, answer) = match found {
        Ok(Some(caller)) => (
            Some(caller),
            answer(&shared, &caller, request.into_body()).await,
        ),
        Ok(None) => (None, Err(Refusal::Unknown)),
        Err(error) => (None, Err(internal("identify the caller", &error))),
    };
    answer.unwrap_or_else(|refusal| {
        tracing::info!(
            sandbox.id = caller.map(|caller| field::display(caller.sandbox)),
            tenant.id = caller.and_then(|caller| caller.tenant).map(field::display),
            %peer,
            reason = refusal.reason(),
            "model call refused"
        );
        refusal.into_response()
    })
}

async fn answer(shared: &Shared, caller: &Caller, body: Body) -> Result<Response, Refusal> {
    let broker = &shared.broker;
    // Before the body is read, so that one sandbox cannot have many in memory.
    let place = broker
        .calls
        .take(caller.sandbox)
        .ok_or(Refusal::TooManyAtOnce)?;
    let body = tokio::time::timeout(broker.timeouts.body, to_bytes(body, MAX_BODY))
        .await
        .map_err(|_| Refusal::TooSlow)?
        .map_err(|_| Refusal::TooLarge)?;
    let request = request::rebuild(&body, &broker.llm.model).map_err(Refusal::NotAllowed)?;
    drop(body);

    let id = CallId::new();
    reserve(broker, caller, id, &request)
        .await
        .map_err(|error| internal("reserve a model call", &error))?
        .map_err(Refusal::Limit)?;
    let call = Call::new(shared.clone(), *caller, id, &request, place);
    let upstream = match forward(broker, request).await {
        Ok(upstream) => upstream,
        Err(refusal) => {
            call.failed(&refusal).await;
            return Err(refusal);
        }
    };
    let content_type = upstream.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = Body::from_stream(pass_on(call, upstream)).into_response();
    if let Some(content_type) = content_type {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
    }
    Ok(response)
}

async fn reserve(
    broker: &Broker,
    caller: &Caller,
    id: CallId,
    request: &Rebuilt,
) -> anyhow::Result<Result<(), usage::Met>> {
    let now = broker.clock.now();
    let turn = match caller.tenant {
        Some(tenant) => turn::active_since(&broker.db, tenant).await?,
        None => None,
    };
    let call = usage::Call {
        id,
        sandbox: caller.sandbox,
        tenant: caller.tenant,
        model: &broker.llm.model,
        tokens: request.input_tokens + request.output_tokens,
        turn_since: turn.unwrap_or(now - WITHOUT_TURN),
    };
    let mut tx = broker.db.begin().await?;
    let reserved = usage::reserve(&mut tx, &call, &broker.llm, now).await?;
    tx.commit().await?;
    Ok(reserved)
}

/// The provider's answer, if it is one.
async fn forward(broker: &Broker, request: Rebuilt) -> Result<reqwest::Response, Refusal> {
    let key = broker.llm.api_key.expose_secret();
    let upstream = broker
        .client
        .post(broker.completions.clone())
        .bearer_auth(key)
        .header(header::CONTENT_TYPE, "application/json")
        .body(request.body)
        .send()
        .await
        .map_err(|error| match error.is_timeout() && !error.is_connect() {
            true => Refusal::UpstreamTimedOut,
            false => Refusal::UpstreamUnreachable,
        })?;
    match upstream.status() {
        status if status.is_success() => Ok(upstream),
        status if status.is_client_error() || status.is_server_error() => Err(Refusal::Upstream(
            status,
            what_upstream_said(upstream, key).await,
        )),
        // A redirect or something stranger, which is not the sandbox's business.
        _ => Err(Refusal::UpstreamUnreachable),
    }
}

/// The message of an error, which an agent needs when a conversation has grown too long. Only
/// that: bodies may name our account, and what concerns our key stays here.
async fn what_upstream_said(mut upstream: reqwest::Response, key: &str) -> String {
    let status = upstream.status();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = upstream.chunk().await
        && body.len() < MAX_ERROR_READ
    {
        body.extend_from_slice(&chunk);
    }
    let about_us = matches!(status.as_u16(), 401..=403 | 407);
    match serde_json::from_slice::<UpstreamError>(&body) {
        Ok(said) if !about_us && !said.error.message.contains(key) => {
            let mut message = said.error.message;
            message.truncate(message.floor_char_boundary(MAX_ERROR));
            message
        }
        _ => format!("the model provider answered {}", status.as_u16()),
    }
}

#[derive(Deserialize)]
struct UpstreamError {
    error: UpstreamMessage,
}

#[derive(Deserialize)]
struct UpstreamMessage {
    message: String,
}

/// The answer, piece by piece. An error towards the sandbox cuts the connection, so that half an
/// answer is never taken for a whole one.
fn pass_on(call: Call, upstream: reqwest::Response) -> impl Stream<Item = reqwest::Result<Bytes>> {
    stream::unfold(Some((call, upstream)), async |state| {
        let (mut call, mut upstream) = state?;
        match upstream.chunk().await {
            Ok(Some(chunk)) => {
                call.passed(&chunk);
                Some((Ok(chunk), Some((call, upstream))))
            }
            Ok(None) => {
                call.ended().await;
                None
            }
            Err(error) => {
                call.broke().await;
                Some((Err(error), None))
            }
        }
    })
}

fn internal(what: &str, error: &anyhow::Error) -> Refusal {
    tracing::error!("failed to {what}: {error:#}");
    Refusal::Internal
}
