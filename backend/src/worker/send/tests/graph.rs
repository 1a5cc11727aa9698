//! A Graph API of thirty lines: it notes every POST and answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use url::Url;

use crate::{
    lifecycle::Shutdown,
    whatsapp::{
        client,
        provider::{Api, Provider},
    },
};

pub enum Reply {
    Refuse {
        status: u16,
        code: i64,
        retry_after: Option<u64>,
    },
    /// The answer breaks off: nobody can say whether the message was taken.
    BreakOff,
    /// No answer until the test is over.
    Hold,
}

#[derive(Clone, Debug)]
pub struct Post {
    pub text: String,
    pub callback: String,
    pub wamid: String,
}

#[derive(Default)]
struct Inner {
    posts: Mutex<Vec<Post>>,
    replies: Mutex<VecDeque<Reply>>,
    posted: Notify,
}

pub struct Graph {
    inner: Arc<Inner>,
    base_url: Url,
}

impl Graph {
    pub async fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let router = Router::new()
            .route("/v24.0/1/messages", routing::post(answer))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        Shutdown::default().spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, base_url }
    }

    pub fn api(&self) -> Api {
        api_at(self.base_url.clone())
    }

    pub fn client() -> client::Client {
        // Fails when another test was first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        client::Client::new(client::http_builder().build().unwrap())
    }

    /// What the next POSTs get; after that, everything is taken.
    pub fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner.replies.lock().unwrap().extend(replies);
    }

    pub fn refuse(&self, codes: impl IntoIterator<Item = i64>) {
        let reply = |code| Reply::Refuse {
            status: 400,
            code,
            retry_after: None,
        };
        self.will(codes.into_iter().map(reply));
    }

    pub fn texts(&self) -> Vec<String> {
        self.inner
            .posts
            .lock()
            .unwrap()
            .iter()
            .map(|post| post.text.clone())
            .collect()
    }

    pub fn post(&self, number: usize) -> Post {
        self.inner.posts.lock().unwrap()[number].clone()
    }

    /// Resolves when a POST has arrived.
    pub async fn posted(&self) {
        self.inner.posted.notified().await;
    }
}

pub fn api_at(base_url: Url) -> Api {
    Api {
        provider: Provider::Meta,
        base_url,
        version: "v24.0".to_owned(),
    }
}

async fn answer(State(graph): State<Arc<Inner>>, Json(body): Json<Value>) -> Response {
    let wamid = {
        let mut posts = graph.posts.lock().unwrap();
        let wamid = format!("wamid.{}", posts.len());
        posts.push(Post {
            text: match body["type"].as_str().unwrap() {
                "template" => format!("[{}]", body["template"]["name"].as_str().unwrap()),
                _ => body["text"]["body"].as_str().unwrap().to_owned(),
            },
            callback: body["biz_opaque_callback_data"]
                .as_str()
                .unwrap()
                .to_owned(),
            wamid: wamid.clone(),
        });
        wamid
    };
    graph.posted.notify_one();
    let reply = graph.replies.lock().unwrap().pop_front();
    match reply {
        None => Json(json!({ "messages": [{ "id": wamid }] })).into_response(),
        Some(Reply::Refuse {
            status,
            code,
            retry_after,
        }) => {
            let error = Json(json!({ "error": { "code": code, "message": "no" } }));
            let mut response = (StatusCode::from_u16(status).unwrap(), error).into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            response
        }
        Some(Reply::BreakOff) => {
            let broken = [
                Ok(Bytes::from_static(b"{")),
                Err(std::io::Error::other("cut")),
            ];
            Body::from_stream(futures_util::stream::iter(broken)).into_response()
        }
        Some(Reply::Hold) => std::future::pending().await,
    }
}
