//! `/whatsapp/webhook` and `/kapso/webhook`: 200 means stored.
//!
//! The signature is checked over the raw bytes before anything is parsed. Authentic rubbish is
//! stored and answered 200, for any other answer means days of retries. So is what names a number for
//! which its signer may not speak, as on no line.

use std::time::Instant;

use anyhow::Context;
use axum::{
    body::Bytes,
    extract::{FromRequest, Query, Request, State, rejection::BytesRejection},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use serde::Deserialize;

use super::{Web, error::ApiError, secrets::Speaker};
use crate::{inbox::Sealed, whatsapp::provider::Provider};

/// What a single delivery of Kapso's is about; its body does not say.
const KAPSO_EVENT: &str = "x-webhook-event";
/// Meta's challenges have about ten digits; we echo nothing longer.
const MAX_CHALLENGE_BYTES: usize = 200;

/// Meta's question when the webhook is registered.
#[derive(Deserialize)]
pub struct Verification {
    #[serde(rename = "hub.mode", default)]
    mode: String,
    #[serde(rename = "hub.verify_token", default)]
    token: String,
    #[serde(rename = "hub.challenge", default)]
    challenge: String,
}

pub async fn verify(
    State(web): State<Web>,
    Query(asked): Query<Verification>,
) -> Result<String, ApiError> {
    let is_ours = web.secrets.is_our_word(&asked.token);
    if asked.mode == "subscribe" && is_ours && asked.challenge.len() <= MAX_CHALLENGE_BYTES {
        return Ok(asked.challenge);
    }
    Err(ApiError::BadToken)
}

/// A body that its provider signed. A handler that forgets to check cannot be written.
pub struct Signed {
    provider: Provider,
    speaker: Speaker,
    /// What Kapso says that happened.
    event: Option<String>,
    body: Bytes,
}

impl FromRequest<Web> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request, web: &Web) -> Result<Self, ApiError> {
        let provider = Provider::at(request.uri().path()).unwrap_or(Provider::Meta);
        let [claimed, event] = [provider.signature_header(), KAPSO_EVENT].map(|name| {
            let value = request.headers().get(name);
            let value = value.and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        });
        let body = Bytes::from_request(request, web)
            .await
            .map_err(unreadable)?;
        if let Some(speaker) = web.secrets.prove(provider, claimed.as_deref(), &body) {
            return Ok(Self {
                provider,
                speaker,
                event,
                body,
            });
        }
        metrics::counter!("clawkaka_webhook_forged_total").increment(1);
        Err(ApiError::BadSignature)
    }
}

/// Measures every POST, whatever becomes of it.
pub async fn timed(request: Request, next: Next) -> Response {
    let is_webhook =
        request.method() == Method::POST && Provider::at(request.uri().path()).is_some();
    let begun = Instant::now();
    let response = next.run(request).await;
    if is_webhook {
        let outcome = match response.status() {
            status if status.is_success() => "stored",
            status if status.is_server_error() => "failed",
            _ => "refused",
        };
        metrics::histogram!("clawkaka_webhook_seconds", "outcome" => outcome)
            .record(begun.elapsed());
    }
    response
}

fn unreadable(rejection: BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
        _ => ApiError::Unreadable,
    }
}

pub async fn receive(State(web): State<Web>, signed: Signed) -> Result<(), ApiError> {
    let Signed {
        provider,
        speaker,
        event,
        body,
    } = signed;
    let updates = provider.cut(event.as_deref(), &body).into_iter();
    let sealed = updates.map(|mut update| {
        let number = update.phone_number_id.take();
        update.phone_number_id = number.filter(|number| speaker.speaks_for(number));
        Sealed::new(&web.sealer, provider, update)
    });
    let stored = web.batches.store(sealed.collect()).await;
    stored.context("store a webhook's updates")?;
    Ok(())
}
