//! What a caller is told when a request fails. The reason is logged here, once.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the signature does not match the body")]
    BadSignature,
    #[error("the verification token is not ours")]
    BadToken,
    #[error("the body is larger than 3 MB")]
    TooLarge,
    #[error("the body could not be read")]
    Unreadable,
    #[error("not now; try again")]
    Unavailable(#[from] anyhow::Error),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::BadSignature | Self::BadToken => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Unavailable(error) => {
                tracing::error!("failed to {error:#}");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, self.to_string()).into_response()
    }
}
