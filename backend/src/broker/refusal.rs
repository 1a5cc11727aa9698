//! Why a call was not answered by a model, in the shape that clients of OpenAI's API read.
//!
//! What the agent does next hangs on status and wording (read in OpenClaw 2026.9.6, and measured):
//! - 400 is final for the turn, and the next turn calls again: right for every limit of ours.
//! - 429 with "insufficient_quota", "daily" or "usage limit" in its message is final too, but the
//!   provider then rests for 30 s, a minute, then five: the person's next message would fail.
//! - Any other 429 is retried up to ten times, with waits of up to 30 s.
//! - 5xx is retried up to eight times within 90 s.
//! - 401, 402 and 403 stop the provider for minutes, in every session: they are never passed on.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::usage::Met;

#[derive(Debug)]
pub enum Refusal {
    NotFound,
    Unknown,
    TooSlow,
    TooLarge,
    /// Why, for the sandbox's eyes only.
    NotAllowed(String),
    TooManyAtOnce,
    Limit(Met),
    /// The provider's answer to the call: its status and what it said.
    Upstream(StatusCode, String),
    UpstreamUnreachable,
    UpstreamTimedOut,
    /// Our fault; logged where it happened.
    Internal,
}

impl Refusal {
    /// For metrics and logs.
    pub fn reason(&self) -> &'static str {
        self.parts().2
    }

    /// Status, OpenAI's type of error, reason, message.
    fn parts(&self) -> (StatusCode, &'static str, &'static str, &str) {
        const INVALID: &str = "invalid_request_error";
        const QUOTA: &str = "insufficient_quota";
        use StatusCode as S;
        match self {
            Self::NotFound => (S::NOT_FOUND, INVALID, "not_found", "there is nothing here"),
            Self::Unknown => (
                S::UNAUTHORIZED,
                "authentication_error",
                "unknown_caller",
                "this token does not belong to this address",
            ),
            Self::TooSlow => (
                S::REQUEST_TIMEOUT,
                INVALID,
                "too_slow",
                "the request took too long to arrive",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                INVALID,
                "too_large",
                "the request is larger than 4 MB",
            ),
            Self::NotAllowed(why) => (S::BAD_REQUEST, INVALID, "not_allowed", why),
            Self::TooManyAtOnce => (
                S::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "too_many_at_once",
                "too many calls at once",
            ),
            Self::Limit(Met::CallsPerTurn) => (
                S::BAD_REQUEST,
                QUOTA,
                "calls_per_turn",
                "usage limit reached (insufficient_quota): this turn has had all its model calls",
            ),
            Self::Limit(Met::TenantDay) => (
                S::BAD_REQUEST,
                QUOTA,
                "tenant_day",
                "daily usage limit reached (insufficient_quota)",
            ),
            Self::Limit(Met::Day) => (
                S::BAD_REQUEST,
                QUOTA,
                "day",
                "daily usage limit of this service reached (insufficient_quota)",
            ),
            Self::Upstream(S::UNAUTHORIZED | S::PAYMENT_REQUIRED | S::FORBIDDEN, said) => (
                S::BAD_REQUEST,
                "upstream_error",
                "upstream_refuses_us",
                said,
            ),
            Self::Upstream(status, said) => (*status, "upstream_error", "upstream", said),
            Self::UpstreamUnreachable => (
                S::BAD_GATEWAY,
                "upstream_error",
                "upstream_unreachable",
                "the model provider could not be reached",
            ),
            Self::UpstreamTimedOut => (
                S::GATEWAY_TIMEOUT,
                "upstream_error",
                "upstream_timed_out",
                "the model provider did not answer in time",
            ),
            Self::Internal => (
                S::SERVICE_UNAVAILABLE,
                "server_error",
                "internal",
                "try again in a moment",
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind, code, message) = self.parts();
        let body =
            json!({"error": {"message": message, "type": kind, "code": code, "param": null}});
        metrics::counter!("clawkaka_broker_refusals_total", "reason" => code).increment(1);
        (status, Json(body)).into_response()
    }
}
