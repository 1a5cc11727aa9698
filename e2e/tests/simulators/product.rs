//! A product that answers webhooks and keeps them, and calls Graph and the model when told to.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use e2e::{Simulators, whatsapp::SIGNATURE_HEADER};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::SOON;

pub struct Product {
    pub url: String,
    heard: Arc<Heard>,
}

struct Heard {
    webhooks: watch::Sender<Vec<Webhook>>,
    /// The status for the next webhooks, before they are answered with 200.
    refusals: watch::Sender<usize>,
}

#[derive(Clone, Debug)]
pub struct Webhook {
    pub signature: Option<String>,
    pub body: Vec<u8>,
}

impl Product {
    pub async fn start() -> Self {
        let heard = Arc::new(Heard {
            webhooks: watch::Sender::new(Vec::new()),
            refusals: watch::Sender::new(0),
        });
        let router = Router::new()
            .route("/hook", post(hear))
            .with_state(heard.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, heard }
    }

    /// Answers the next webhooks with 503.
    pub fn refuse(&self, times: usize) {
        self.heard.refusals.send_replace(times);
    }

    pub fn webhooks(&self) -> Vec<Webhook> {
        self.heard.webhooks.borrow().clone()
    }

    pub async fn wait_for(&self, count: usize) -> Vec<Webhook> {
        let mut watcher = self.heard.webhooks.subscribe();
        let seen = watcher.wait_for(|webhooks| webhooks.len() >= count);
        tokio::time::timeout(SOON, seen)
            .await
            .unwrap()
            .unwrap()
            .clone()
    }
}

impl Webhook {
    pub fn value(&self) -> Value {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["entry"][0]["changes"][0]["value"].clone()
    }

    pub fn status(&self) -> Value {
        self.value()["statuses"][0].clone()
    }
}

async fn hear(State(heard): State<Arc<Heard>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers
        .get(SIGNATURE_HEADER)
        .map(|value| value.to_str().unwrap().to_owned());
    heard.webhooks.send_modify(|webhooks| {
        webhooks.push(Webhook {
            signature,
            body: body.to_vec(),
        })
    });
    let mut refused = false;
    heard.refusals.send_modify(|left| {
        refused = *left > 0;
        *left = left.saturating_sub(1);
    });
    if refused {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

pub fn client() -> reqwest::Client {
    e2e::http_client(SOON).unwrap()
}

pub fn text_to(to: &str, text: &str) -> Value {
    json!({
        "messaging_product": "whatsapp", "to": to, "type": "text",
        "text": {"body": text, "preview_url": false},
        "biz_opaque_callback_data": "outbox-1:1",
    })
}

pub async fn call(simulators: &Simulators, body: &Value) -> reqwest::Result<reqwest::Response> {
    let whatsapp = &simulators.whatsapp;
    let url = format!(
        "{}/v24.0/{}/messages",
        whatsapp.url(),
        whatsapp.settings().phone_number_id
    );
    let token = &whatsapp.settings().access_token;
    client()
        .post(url)
        .bearer_auth(token)
        .json(body)
        .send()
        .await
}
