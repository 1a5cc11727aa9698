//! Graph's error answers, with the HTTP status each code usually comes with.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GraphError {
    pub status: u16,
    pub code: i64,
    pub details: String,
}

impl GraphError {
    /// A code with the status and the words Meta's list of errors has for it.
    pub fn of(code: i64) -> Self {
        Self {
            status: usual_status(code),
            code,
            details: title(code).to_owned(),
        }
    }

    /// A parameter that Graph does not accept.
    pub fn parameter(details: impl Into<String>) -> Self {
        Self {
            details: details.into(),
            ..Self::of(100)
        }
    }

    pub fn missing(name: &str) -> Self {
        Self {
            details: format!("The parameter {name} is required."),
            ..Self::of(100)
        }
    }
}

impl IntoResponse for GraphError {
    fn into_response(self) -> Response {
        let kind = if self.code == 100 {
            "GraphMethodException"
        } else {
            "OAuthException"
        };
        let body = json!({"error": {
            "message": format!("(#{}) {}", self.code, title(self.code)),
            "type": kind,
            "code": self.code,
            "error_data": {"messaging_product": "whatsapp", "details": self.details},
            "fbtrace_id": "AXsimulatedTrace0",
        }});
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(body)).into_response()
    }
}

fn usual_status(code: i64) -> u16 {
    match code {
        0 | 190 => 401,
        3 | 131005 | 131031 | 130497 | 368 => 403,
        131000 | 133004 => 500,
        131016 | 131057 => 503,
        130429 => 429,
        _ => 400,
    }
}

pub(crate) fn title(code: i64) -> &'static str {
    match code {
        4 => "Application request limit reached",
        100 => "Invalid parameter",
        190 => "Access token has expired",
        368 => "Temporarily blocked for policies violations",
        130429 => "Rate limit hit",
        131000 => "Something went wrong",
        131005 => "Access denied",
        131008 => "Required parameter is missing",
        131009 => "Parameter value is not valid",
        131016 => "Service unavailable",
        131026 => "Message undeliverable",
        131031 => "Account has been locked",
        131047 => "Re-engagement message",
        131048 => "Spam rate limit hit",
        131049 => "This message was not delivered to maintain healthy ecosystem engagement",
        131050 => "User's preferred to stop receiving marketing messages",
        131056 => "(Business Account, Consumer Account) pair rate limit hit",
        131057 => "Account in maintenance mode",
        139100 => "Failed to block/unblock some users",
        _ => "Unknown error",
    }
}
