//! Scenarios: a real broker on a real socket and database, between a sandbox and a provider that
//! the test plays.

mod answers;
mod connections;
mod limits;
mod request;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
};
use uuid::Uuid;

use super::*;
use crate::id::TenantId;

const KEY: &str = "sk-the-real-key";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":4,\"total_tokens\":15}}\n\n";

/// A call as the provider sees it.
struct Seen {
    headers: HeaderMap,
    body: Value,
    /// Resolves when the provider's handler is over or has been dropped.
    gone: oneshot::Receiver<()>,
}

struct World {
    db: PgPool,
    clock: Clock,
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    answers: mpsc::UnboundedSender<Response>,
    broker: Shutdown,
    provider: Shutdown,
}

impl World {
    async fn new(db: PgPool) -> Self {
        Self::with(db, |_, _| {}).await
    }

    /// Two sandboxes, in slots 1 and 2, at 127.0.0.1 and 127.0.0.2.
    async fn with(db: PgPool, change: impl FnOnce(&mut config::Llm, &mut Timeouts)) -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let provider = Shutdown::default();
        let (base_url, seen, answers) = provide(&provider).await;
        let mut llm = config::Llm {
            base_url,
            api_key: KEY.into(),
            model: "m".to_owned(),
            tokens_per_tenant_day: 2_000_000,
            tokens_per_day: 50_000_000,
            calls_per_turn: 30,
        };
        let mut timeouts = Timeouts::default();
        change(&mut llm, &mut timeouts);
        let clock = Clock::manual("2026-03-01T12:00:00Z".parse().unwrap());
        for slot in [1, 2] {
            add_sandbox(&db, slot, clock.now()).await;
        }
        let listener = bind(Ipv4Addr::LOCALHOST, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let address_of = |slot| Ipv4Addr::new(127, 0, 0, slot as u8);
        let parts = Broker::new(db.clone(), clock.clone(), llm, timeouts, address_of).unwrap();
        let broker = Shutdown::default();
        broker.spawn(run(listener, parts, broker.clone()));
        Self {
            db,
            clock,
            address,
            seen,
            answers,
            broker,
            provider,
        }
    }

    async fn call(&self, body: Value) -> reqwest::Response {
        post_from(self.address, 1, "token-1", body.to_string()).await
    }

    fn will_answer(&self, answer: impl IntoResponse) {
        self.answers.send(answer.into_response()).unwrap();
    }

    /// The provider's next answer is a stream that the test feeds.
    fn will_stream(&self) -> mpsc::UnboundedSender<Result<Bytes, std::io::Error>> {
        let (feed, pieces) = mpsc::unbounded_channel();
        let body = stream::unfold(pieces, async |mut pieces: mpsc::UnboundedReceiver<_>| {
            Some((pieces.recv().await?, pieces))
        });
        self.will_answer((
            [("content-type", "text/event-stream")],
            Body::from_stream(body),
        ));
        feed
    }

    fn nothing_was_forwarded(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// The tokens and states of all calls, in order.
    async fn usage(&self) -> Vec<(i64, String)> {
        sqlx::query!("select tokens, state from usage order by request_id")
            .map(|row| (row.tokens, row.state))
            .fetch_all(&self.db)
            .await
            .unwrap()
    }

    async fn tenant(&self, slot: i32) -> TenantId {
        let row = sqlx::query_scalar!("select tenant_id from sandbox where slot = $1", slot);
        TenantId(row.fetch_one(&self.db).await.unwrap().unwrap())
    }

    /// Stops the broker and waits for everything it still has to do.
    async fn stop(&self) {
        self.broker.stop();
        self.broker.clone().wait().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.broker.stop();
        self.provider.stop();
    }
}

/// A call as the sandbox of `slot` makes it.
async fn post_from(
    address: SocketAddr,
    slot: u8,
    token: &str,
    body: impl Into<reqwest::Body>,
) -> reqwest::Response {
    let client = reqwest::Client::builder().local_address(Some([127, 0, 0, slot].into()));
    client
        .build()
        .unwrap()
        .post(format!("http://{address}/llm/v1/chat/completions"))
        .bearer_auth(token)
        .body(body)
        .send()
        .await
        .unwrap()
}

fn request() -> Value {
    json!({"model": "m", "stream": true, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]})
}

async fn error_of(answer: reqwest::Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let text = |field: &str| body["error"][field].as_str().unwrap().to_owned();
    (status, text("code"), text("message"))
}

async fn add_sandbox(db: &PgPool, slot: i32, now: chrono::DateTime<chrono::Utc>) {
    let hash = Sha256::digest(format!("token-{slot}"));
    let (line, tenant) = (Uuid::now_v7(), Uuid::now_v7());
    sqlx::query!(
        "insert into line (id, provider, phone_number_id, source, key_id) values ($1, 'meta', $2, 'env', 1)",
        line,
        slot.to_string(),
    )
    .execute(db)
    .await
    .unwrap();
    sqlx::query!(
        "insert into tenant (id, line_id, status, key_id, created_at) values ($1, $2, 'active', 1, $3)",
        tenant,
        line,
        now,
    )
    .execute(db)
    .await
    .unwrap();
    sqlx::query!(
        "insert into sandbox (id, slot, tenant_id, broker_token_hash, created_at) values ($1, $2, $3, $4, $5)",
        Uuid::now_v7(),
        slot,
        tenant,
        hash.as_slice(),
        now,
    )
    .execute(db)
    .await
    .unwrap();
}

struct Provider {
    seen: mpsc::UnboundedSender<Seen>,
    answers: Mutex<mpsc::UnboundedReceiver<Response>>,
}

/// Reports every call and answers it with the next answer, waiting for one as long as it takes.
async fn provide(
    shutdown: &Shutdown,
) -> (
    Url,
    mpsc::UnboundedReceiver<Seen>,
    mpsc::UnboundedSender<Response>,
) {
    let (seen, calls) = mpsc::unbounded_channel();
    let (answers, next) = mpsc::unbounded_channel();
    let router = Router::new()
        .route(
            "/api/v1/chat/completions",
            post(
                async |State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes| {
                    let (_here, gone) = oneshot::channel();
                    let body = serde_json::from_slice(&body).unwrap();
                    _ = provider.seen.send(Seen {
                        headers,
                        body,
                        gone,
                    });
                    let answer = provider.answers.lock().await.recv().await;
                    answer.unwrap_or_default()
                },
            ),
        )
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(Provider {
            seen,
            answers: Mutex::new(next),
        }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let stopping = shutdown.clone();
    shutdown.spawn(async move {
        tokio::select! {
            served = axum::serve(listener, router) => served.unwrap(),
            () = stopping.stopping() => {}
        }
    });
    (url, calls, answers)
}
