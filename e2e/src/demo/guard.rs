//! Who may use the control API and the page: this machine, and no web page of somebody else.
//!
//! Listening on loopback keeps other machines out, but not a browser on this one: any web page
//! could post here (cross-origin), and one whose name is pointed at 127.0.0.1 could read the
//! answers as well (DNS rebinding). Both give themselves away by their headers. Through a tunnel
//! (`ssh -L`) the port may be another one, so only the name counts.

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// What a browser lets the page do: load our own files and talk to us. No script from elsewhere,
/// no markup from strings, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, Json(json!({"error": why}))).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(HeaderValue::to_str);
    let host = match text(header::HOST) {
        Some(Ok(host)) if is_loopback(host) => host,
        _ => return Some("ask for 127.0.0.1, localhost or [::1]: other names are refused"),
    };
    match text(header::ORIGIN) {
        None => None,
        Some(Ok(origin)) if origin.strip_prefix("http://") == Some(host) => None,
        Some(_) => Some("other web pages may not use this"),
    }
}

fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "80"),
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&name)
        && !port.is_empty()
        && port.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        refusal(&headers).is_none()
    }

    #[test]
    fn this_machine_is_let_in_also_through_a_tunnel() {
        for host in [
            "127.0.0.1:3103",
            "localhost:8080",
            "[::1]:3103",
            "localhost",
        ] {
            assert!(is_let_in(host, None), "{host}");
            assert!(is_let_in(host, Some(&format!("http://{host}"))), "{host}");
        }
    }

    #[test]
    fn a_name_pointed_at_us_is_refused() {
        for host in [
            "evil.example",
            "evil.example:3103",
            "127.0.0.1.evil.example:3103",
            "localhost:3103.evil.example",
            "127.0.0.1:",
            "127.0.0.1@evil.example",
            "",
        ] {
            assert!(!is_let_in(host, None), "{host}");
        }
        assert!(refusal(&HeaderMap::new()).is_some());
    }

    #[test]
    fn another_web_page_is_refused() {
        for origin in [
            "http://evil.example",
            "null",
            "https://127.0.0.1:3103",
            "http://127.0.0.1:3104",
            "http://localhost:3103",
        ] {
            assert!(!is_let_in("127.0.0.1:3103", Some(origin)), "{origin}");
        }
    }
}
