//! A model that speaks OpenAI's chat completions and says what it is told.
//!
//! `POST …/chat/completions` under any prefix, streamed or not, checked for its bearer key. What is
//! answered comes from the rules a test adds ([`Model::program`]) or, without any, from a friendly
//! script that repeats every `#mark-…` it was sent. Every request is kept, with its size.

mod chat;
mod hearing;
mod rule;
mod stream;
mod transcript;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, extract::DefaultBodyLimit};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use hearing::Speech;
pub use rule::{At, Hold, Rule, Script, ToolCall};
pub use transcript::MARK;

use crate::{Gates, server::Server};

/// Larger than any request the broker lets through.
const MAX_REQUEST: usize = 32 << 20;

#[derive(Clone, Debug)]
pub struct Settings {
    /// 0 takes a free one.
    pub port: u16,
    pub key: String,
    /// The model that the product asks instead of this one, for the page to tell.
    pub real: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            key: "simulated-model-key".to_owned(),
            real: None,
        }
    }
}

/// A running simulator. Clones are the same one.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
    server: Arc<Server>,
}

struct Inner {
    settings: Settings,
    state: watch::Sender<State>,
    gates: Gates,
}

#[derive(Debug, Default)]
pub struct State {
    /// Every request, in order of arrival.
    pub requests: Vec<Request>,
    rules: Vec<Rule>,
    pub speeches: Vec<Speech>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Request {
    pub number: usize,
    pub at: DateTime<Utc>,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// The body as sent; a string if it is not JSON.
    pub body: Value,
    /// The size of the body as sent, which is what is paid for.
    pub bytes: usize,
    /// What the user rows said that had no answer yet.
    pub pending: Vec<String>,
    /// The text answered, as far as it is one.
    pub answer: Option<String>,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Open,
    /// Answered to the end, with this status.
    Answered(u16),
    /// Broken off by us, as programmed.
    Broken,
    /// The caller went away before the end.
    Left,
}

impl Model {
    pub(crate) async fn start(
        settings: Settings,
        gates: Gates,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let port = settings.port;
        let state = watch::Sender::new(State::default());
        let inner = Arc::new(Inner {
            settings,
            state,
            gates,
        });
        let router = Router::new()
            .route("/v1/models", axum::routing::get(chat::models))
            .route(
                "/v1/audio/transcriptions",
                axum::routing::post(hearing::transcribe),
            )
            .fallback(chat::any)
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(inner.clone());
        let server = Arc::new(Server::start(port, router, stop).await?);
        Ok(Self { inner, server })
    }

    /// The product's `LLM_BASE_URL`.
    pub fn url(&self) -> String {
        format!("{}/v1", self.server.url())
    }

    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Adds a rule after those there are. A gate it waits at is shut.
    pub fn program(&self, rule: Rule) {
        self.shut_gate_of(&rule);
        self.inner.state.send_modify(|state| state.rules.push(rule));
    }

    /// Adds a rule before those there are.
    pub fn program_first(&self, rule: Rule) {
        self.shut_gate_of(&rule);
        let add = |state: &mut State| state.rules.insert(0, rule);
        self.inner.state.send_modify(add);
    }

    fn shut_gate_of(&self, rule: &Rule) {
        if let Some(hold) = &rule.hold {
            self.inner.gates.shut(&hold.gate);
        }
    }

    /// Forgets all rules. Requests that wait at a gate go on waiting.
    pub fn clear_program(&self) {
        self.inner.state.send_modify(|state| state.rules.clear());
    }

    /// Refuses connections until [`Model::accept_again`].
    pub async fn refuse(&self) {
        self.server.refuse().await;
    }

    pub async fn accept_again(&self) -> anyhow::Result<()> {
        self.server.accept_again().await
    }

    pub fn requests(&self) -> Vec<Request> {
        self.read(|state| state.requests.clone())
    }

    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.inner.state.borrow())
    }

    /// Waits for a request whose unanswered part contains a text, and returns it.
    pub async fn wait_for_request(
        &self,
        contains: &str,
        within: Duration,
    ) -> anyhow::Result<Request> {
        let wanted =
            |request: &&Request| request.pending.iter().any(|text| text.contains(contains));
        self.wait_until(within, |state| state.requests.iter().find(wanted).cloned())
            .await
            .context("wait for a request to the model")
    }

    /// Waits until `look` finds what it wants. It looks again after every change.
    pub async fn wait_until<R>(
        &self,
        within: Duration,
        mut look: impl FnMut(&State) -> Option<R>,
    ) -> anyhow::Result<R> {
        let started = Instant::now();
        let mut watcher = self.inner.state.subscribe();
        loop {
            if let Some(found) = look(&watcher.borrow_and_update()) {
                return Ok(found);
            }
            let left = within.saturating_sub(started.elapsed());
            tokio::time::timeout(left, watcher.changed())
                .await
                .with_context(|| format!("the model did not come to that within {within:?}"))?
                .context("watch the model")?;
        }
    }
}
