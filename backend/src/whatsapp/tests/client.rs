//! The client against a server that answers, refuses, breaks off and lies.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::any;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::whatsapp::client::{Accepted, Client, Line, Recipient, http_builder};
use crate::whatsapp::failure::{Class, SendError};
use crate::whatsapp::outgoing::Outgoing;
use crate::whatsapp::provider::{Api, Provider};

const PHONE: &str = "16505551234";
const TEXT: &str = "a private text";
pub const OK: &str = r#"{"messaging_product":"whatsapp","contacts":[{"input":"+1","wa_id":"1"}],"messages":[{"id":"wamid.sent"}]}"#;

pub fn client() -> Client {
    // The real process installs it once at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = http_builder()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    Client::new(http)
}

pub fn api(address: SocketAddr) -> Api {
    Api {
        provider: Provider::Meta,
        base_url: format!("http://{address}/").parse().unwrap(),
        version: "v24.0".to_owned(),
    }
}

async fn send(api: &Api, to: &Recipient) -> Result<Accepted, SendError> {
    let token = SecretString::from("token-123");
    let line = Line {
        api,
        phone_number_id: "106",
        access_token: &token,
    };
    client()
        .send(line, to, &Outgoing::text(TEXT), "0198:1")
        .await
}

async fn send_to(address: SocketAddr) -> SendError {
    let refused = send(&api(address), &Recipient::Phone(PHONE.to_owned())).await;
    refused.expect_err("this send must fail")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server of this test alone, gone with its runtime"
)]
fn run(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

pub type Seen = mpsc::UnboundedReceiver<(String, HeaderMap, Value)>;
pub type Answer = (StatusCode, HeaderMap, String);

/// Always gives the same answer, and shows what it was asked.
pub async fn server(answer: Answer) -> (SocketAddr, Seen) {
    let (tell, seen) = mpsc::unbounded_channel();
    let handler = |State(answer): State<Answer>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let _ = tell.send((uri.to_string(), headers, body));
        answer
    };
    let router = Router::new()
        .route("/{*path}", any(handler))
        .with_state(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    run(async move { axum::serve(listener, router).await.unwrap() });
    (address, seen)
}

async fn answering(status: u16, body: &str) -> SocketAddr {
    let status = StatusCode::from_u16(status).unwrap();
    server((status, HeaderMap::new(), body.to_owned())).await.0
}

/// Reads a request, writes `answer` as it is, and hangs up. Counts its connections.
async fn raw(answer: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = mpsc::unbounded_channel();
    run(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = tell.send(());
            let mut request = [0; 4096];
            let mut read = 0;
            while !request[..read]
                .windows(TEXT.len())
                .any(|bytes| bytes == TEXT.as_bytes())
            {
                read += socket.read(&mut request[read..]).await.unwrap();
            }
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_text_goes_out_as_documented() {
    let (address, mut seen) = server((StatusCode::OK, HeaderMap::new(), OK.to_owned())).await;
    let api = api(address);
    let people = [
        (
            Recipient::Phone(PHONE.to_owned()),
            "to",
            "+16505551234",
            "individual",
        ),
        (
            Recipient::UserId("US.1".to_owned()),
            "recipient",
            "US.1",
            "individual",
        ),
        (Recipient::Group("Y2Fw".to_owned()), "to", "Y2Fw", "group"),
    ];
    for (to, field, value, kind) in people {
        assert_eq!(send(&api, &to).await.unwrap().wamid, "wamid.sent");
        let (path, headers, body) = seen.recv().await.unwrap();
        assert_eq!(path, "/v24.0/106/messages");
        assert_eq!(headers["authorization"], "Bearer token-123");
        let mut expected = json!({
            "messaging_product": "whatsapp", "recipient_type": kind, "type": "text",
            "text": {"body": TEXT, "preview_url": false}, "biz_opaque_callback_data": "0198:1",
        });
        expected[field] = json!(value);
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn a_group_gets_words_in_place_of_what_it_cannot_have() {
    let (address, mut seen) = server((StatusCode::OK, HeaderMap::new(), OK.to_owned())).await;
    let (api, token) = (api(address), SecretString::from("token-123"));
    let line = Line {
        api: &api,
        phone_number_id: "106",
        access_token: &token,
    };
    let buttons = Outgoing::Buttons {
        body: "When?".to_owned(),
        titles: vec!["Today".to_owned()],
    };
    let group = Recipient::Group("Y2Fw".to_owned());
    let sent = client().send(line, &group, &buttons, "0198:1").await;
    assert_eq!(sent.unwrap().wamid, "wamid.sent");
    let (_, _, body) = seen.recv().await.unwrap();
    assert_eq!(body["text"]["body"], "When?\n\n- Today");
    assert_eq!(
        (&body["type"], &body["interactive"]),
        (&json!("text"), &Value::Null)
    );
}

#[tokio::test]
async fn a_template_goes_out_with_its_name_and_language_and_nothing_of_ours() {
    let (address, mut seen) = server((StatusCode::OK, HeaderMap::new(), OK.to_owned())).await;
    let (api, token) = (api(address), SecretString::from("token-123"));
    let line = Line {
        api: &api,
        phone_number_id: "106",
        access_token: &token,
    };
    let template = Outgoing::Template {
        name: "assistant_waiting".to_owned(),
        language: "en_US".to_owned(),
    };
    let to = Recipient::Phone(PHONE.to_owned());
    client().send(line, &to, &template, "0198:1").await.unwrap();
    let (_, _, body) = seen.recv().await.unwrap();
    assert_eq!(body["type"], "template");
    let expected = json!({ "name": "assistant_waiting", "language": { "code": "en_US" } });
    assert_eq!(body["template"], expected);
    let kept = Outgoing::from_bytes(template.kind(), template.to_bytes().unwrap());
    assert!(kept.unwrap() == template);
}

#[tokio::test]
async fn kapso_is_asked_below_its_proxy_and_with_its_key() {
    let (address, mut seen) = server((StatusCode::OK, HeaderMap::new(), OK.to_owned())).await;
    let api = Api {
        provider: Provider::Kapso,
        ..api(address)
    };
    let to = Recipient::Phone(PHONE.to_owned());
    assert_eq!(send(&api, &to).await.unwrap().wamid, "wamid.sent");
    let (path, headers, _) = seen.recv().await.unwrap();
    assert_eq!(path, "/meta/whatsapp/v24.0/106/messages");
    assert_eq!(headers["x-api-key"], "token-123");
    assert!(!headers.contains_key("authorization"));
}

#[tokio::test]
async fn another_message_under_way_at_kapso_is_waited_for() {
    let busy = r#"{"error":"another message is in flight"}"#.to_owned();
    let (address, _seen) = server((StatusCode::CONFLICT, HeaderMap::new(), busy)).await;
    assert_eq!(send_to(address).await.class, Class::Transient);
}

#[tokio::test]
async fn reading_and_typing_go_out_as_documented() {
    let success = r#"{"success":true}"#.to_owned();
    let (address, mut seen) = server((StatusCode::OK, HeaderMap::new(), success)).await;
    let (api, token) = (api(address), SecretString::from("t"));
    let line = Line {
        api: &api,
        phone_number_id: "106",
        access_token: &token,
    };
    for typing in [false, true] {
        client().mark_read(line, "wamid.in", typing).await.unwrap();
        let (_, _, body) = seen.recv().await.unwrap();
        let mut expected =
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.in"});
        if typing {
            expected["typing_indicator"] = json!({"type": "text"});
        }
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn an_answer_of_graph_is_decided_by_its_code() {
    let rows = [
        (400, 131_047, Class::WindowClosed),
        (400, 130_429, Class::Throttled),
        (429, 130_429, Class::Throttled),
        (400, 131_056, Class::PairRate),
        (401, 190, Class::TokenRejected),
        (500, 131_000, Class::Transient),
        (400, 131_026, Class::Undeliverable),
        (400, 777_777, Class::BadRequest),
        (503, 777_777, Class::Transient),
    ];
    for (status, code, class) in rows {
        let body = json!({"error": {"message": format!("(#{code}) {PHONE}: {TEXT}"), "code": code,
            "error_subcode": 33, "fbtrace_id": "AbC-1", "error_data": {"details": PHONE}}});
        let error = send_to(answering(status, &body.to_string()).await).await;
        assert_eq!(
            (error.class, error.code, error.status),
            (class, Some(code), Some(status))
        );
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("AbC-1") && shown.contains(&code.to_string()),
            "{shown}"
        );
        for private in [PHONE, TEXT, "token-123"] {
            assert!(!shown.contains(private), "{shown}");
        }
    }
    let transient = r#"{"error":{"code":777777,"is_transient":true}}"#;
    assert_eq!(
        send_to(answering(400, transient).await).await.class,
        Class::Transient
    );
}

#[tokio::test]
async fn retry_after_is_honoured_and_bounded() {
    for (header, seconds) in [("7", Some(7)), ("999999", Some(3600)), ("soon", None)] {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", header.parse().unwrap());
        let (address, _seen) =
            server((StatusCode::TOO_MANY_REQUESTS, headers, "slow".to_owned())).await;
        let error = send_to(address).await;
        assert_eq!(
            (error.class, error.retry_after.map(|d| d.as_secs())),
            (Class::Throttled, seconds)
        );
    }
}

#[tokio::test]
async fn what_may_have_been_sent_is_unclear() {
    let huge = "x".repeat(100_000);
    let answers = [
        (200, "<html>"),
        (200, ""),
        (200, "{}"),
        (200, r#"{"messages":[]}"#),
        (200, r#"{"messages":[{"id":""}]}"#),
        (200, &huge),
        (500, "oops"),
        (502, "{}"),
        (504, ""),
    ];
    for (status, body) in answers {
        let error = send_to(answering(status, body).await).await;
        assert_eq!(error.class, Class::Unclear, "{status} {body:.20}");
    }
    let broken = [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"messages\"",
    ];
    for answer in broken {
        let (address, mut connections) = raw(answer).await;
        assert_eq!(send_to(address).await.class, Class::Unclear, "{answer}");
        assert!(
            connections.try_recv().is_ok() && connections.try_recv().is_err(),
            "sent once"
        );
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_unclear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(
        send_to(listener.local_addr().unwrap()).await.class,
        Class::Unclear
    );
}

#[tokio::test]
async fn what_never_left_is_not_connected_or_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(send_to(closed).await.class, Class::NotConnected);
    let (api, token) = (api(closed), SecretString::from("broken\ntoken"));
    let line = Line {
        api: &api,
        phone_number_id: "106",
        access_token: &token,
    };
    let refused = client().mark_read(line, "wamid.in", false).await;
    assert_eq!(refused.unwrap_err().class, Class::BadRequest);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut headers = HeaderMap::new();
    headers.insert("location", "/elsewhere".parse().unwrap());
    let (address, mut seen) =
        server((StatusCode::TEMPORARY_REDIRECT, headers, String::new())).await;
    assert_eq!(send_to(address).await.class, Class::Operator);
    assert!(
        seen.recv().await.is_some() && seen.try_recv().is_err(),
        "asked once"
    );
}
