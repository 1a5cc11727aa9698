//! A stateful WhatsApp: the Graph API the product calls, and the people who write to it.
//!
//! [`Whatsapp`] is the handle tests hold. People [`Whatsapp::say`] things, which reach the product
//! as signed webhooks; what the product POSTs is checked as strictly as Meta does, kept in order,
//! shown to the person ([`Whatsapp::chat`]) and followed by status webhooks. Faults are programmed
//! with [`Whatsapp::program`] and everything can be awaited with [`Whatsapp::wait_until`].
//! Start reading at `graph.rs` for calls and at `webhook.rs` for webhooks.

mod account;
mod block;
mod error;
mod fault;
mod graph;
mod kapso;
mod list;
mod media;
mod outgoing;
mod person;
mod phone;
mod receipt;
mod register;
mod request;
mod settings;
mod state;
mod upload;
mod webhook;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, extract::DefaultBodyLimit, middleware, routing};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use account::Account;
pub use fault::{Fault, FaultRule, On, PairRate, Receipt, ReceiptRule};
pub use list::{Keeping, Listing};
pub use media::{Enclosed, Kept, Trick};
pub use person::Person;
pub use phone::Phone;
pub use request::MAX_TEXT;
pub use settings::{Settings, Through};
pub use state::{Attempt, Bubble, Call, CallKind, Delivery, End, Side, State, Ticks, Typing};
pub use upload::Uploaded;
pub use webhook::{Message, SIGNATURE_HEADER, escaped, signature};

use crate::{Gates, http_client, http_client_trusting, server::Server};

/// Larger than any request Graph would take.
const MAX_REQUEST: usize = 4 << 20;
/// The largest file, and its form.
const MAX_UPLOAD: usize = 101 << 20;

/// A running simulator. Clones are the same one.
#[derive(Clone)]
pub struct Whatsapp {
    inner: Arc<Inner>,
    server: Arc<Server>,
}

struct Inner {
    settings: Settings,
    state: watch::Sender<State>,
    webhook_url: watch::Sender<String>,
    gates: Gates,
    http: watch::Sender<reqwest::Client>,
    stop: CancellationToken,
}

/// What became of something a person said.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Said {
    pub wamid: String,
    /// The product's answer to the webhook; absent if there was none.
    pub status: Option<u16>,
}

/// How a body is signed.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// With the app secret, as it should be.
    #[default]
    Right,
    /// With no header at all.
    Missing,
    /// With this header, whatever it is.
    Header(String),
}

impl Whatsapp {
    pub(crate) async fn start(
        settings: Settings,
        gates: Gates,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let port = settings.port;
        let inner = Arc::new(Inner {
            http: watch::Sender::new(http_client(settings.webhook_timeout)?),
            webhook_url: watch::Sender::new(settings.webhook_url.clone()),
            state: watch::Sender::new(State::default()),
            settings,
            gates,
            stop: stop.clone(),
        });
        let router = Router::new()
            .route(
                "/{version}/{id}/messages",
                routing::post(graph::messages).get(list::messages),
            )
            .route(
                "/{version}/{id}/media",
                routing::post(upload::take).layer(DefaultBodyLimit::max(MAX_UPLOAD)),
            )
            .route(
                "/{version}/{id}/block_users",
                routing::post(block::users).delete(block::users),
            )
            .route("/{version}/debug_token", routing::get(account::debug_token))
            .route("/media/{id}", routing::get(media::bytes))
            .route("/{version}/{id}", routing::get(account::object))
            .merge(register::of_meta())
            .route(
                "/{version}/{id}/phone_numbers",
                routing::get(account::phone_numbers),
            )
            .route(
                "/{version}/{id}/subscribed_apps",
                routing::get(account::subscribed_apps),
            )
            .route(
                "/{version}/{id}/subscriptions",
                routing::get(account::subscriptions),
            )
            .fallback(graph::unknown_path)
            .layer(middleware::from_fn_with_state(inner.clone(), account::date))
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(inner.clone());
        let router = match inner.settings.through {
            Through::Meta => router,
            Through::Kapso => Router::new()
                .nest(kapso::PROXY, router)
                .merge(register::routes().with_state(inner.clone())),
        };
        let server = Arc::new(Server::start(port, router, stop).await?);
        Ok(Self { inner, server })
    }

    /// The product's `WHATSAPP_API_BASE_URL`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Sends webhooks elsewhere from now on; retries too.
    pub fn set_webhook_url(&self, url: &str) {
        self.inner.webhook_url.send_replace(url.to_owned());
    }

    /// Posts webhooks over TLS from now on, to whoever shows a certificate of this authority (PEM).
    pub fn trust(&self, authority: &[u8]) -> anyhow::Result<()> {
        let timeout = self.inner.settings.webhook_timeout;
        let http = http_client_trusting(authority, timeout)?;
        self.inner.http.send_replace(http);
        Ok(())
    }

    // What people do.

    /// A person writes; the webhook is posted once.
    pub async fn say(&self, person: &Person, text: &str) -> Said {
        self.send(&Message::text(person, text)).await
    }

    /// Posts one message once.
    pub async fn send(&self, message: &Message) -> Said {
        let body = self.body(std::slice::from_ref(message));
        Said {
            wamid: message.wamid.clone(),
            status: self.post(&body).await,
        }
    }

    /// The webhook body for messages, in this order. Post it as often as you like.
    pub fn body(&self, messages: &[Message]) -> Vec<u8> {
        webhook::messages_body(&self.inner.settings, messages)
    }

    /// The webhook body for one status; for statuses no message of ours ever had, too.
    pub fn status_body(
        &self,
        person: &Person,
        wamid: &str,
        callback: Option<&str>,
        receipt: &Receipt,
    ) -> Vec<u8> {
        let error = receipt.code.map(|code| (code, error::title(code)));
        let settings = &self.inner.settings;
        webhook::status_body(settings, person, wamid, callback, receipt.status, error)
    }

    /// Posts a body once, signed.
    pub async fn post(&self, body: &[u8]) -> Option<u16> {
        self.post_signed(body, &Signature::Right).await
    }

    /// Posts any bytes once, with any signature.
    pub async fn post_signed(&self, body: &[u8], signed: &Signature) -> Option<u16> {
        let right = signature(&register::secret(&self.inner), body);
        let header = match signed {
            Signature::Right => Some(right.as_str()),
            Signature::Missing => None,
            Signature::Header(value) => Some(value.as_str()),
        };
        if matches!(signed, Signature::Right) {
            self.inner.hear(body);
        }
        let delivery = self.inner.begin_delivery(body);
        let status = webhook::post(&self.inner, delivery, body, header).await;
        self.inner.note_answer(body, status);
        status
    }

    /// Posts a body until it is answered with 200, as Meta does.
    pub async fn post_until_taken(&self, body: &[u8]) -> Option<u16> {
        self.inner.hear(body);
        let (delivery, mut status) = webhook::deliver(&self.inner, body).await;
        if status != Some(200) {
            let lasts = self.inner.settings.retry_for;
            status = webhook::retry(&self.inner, delivery, body, lasts).await;
        }
        self.inner.note_answer(body, status);
        status
    }

    /// Posts the same body several times at once.
    pub async fn post_copies(&self, body: &[u8], copies: usize) -> Vec<Option<u16>> {
        futures_util::future::join_all((0..copies).map(|_| self.post(body))).await
    }

    // What goes wrong.

    /// Adds a fault. A gate it waits at is shut.
    pub fn program(&self, rule: impl Into<FaultRule>) {
        let rule = rule.into();
        if let Some(gate) = rule.gate() {
            self.inner.gates.shut(gate);
        }
        self.change(|state| state.program.faults.push(rule));
    }

    /// Says which receipts follow messages from now on.
    pub fn program_receipts(&self, rule: ReceiptRule) {
        self.change(|state| state.program.receipts.push(rule));
    }

    /// Until they write again, messages to this person fail with 131047.
    pub fn close_window(&self, person: &Person) {
        self.change(|state| state.program.closed_windows.push(person.clone()));
    }

    pub fn limit_pair_rate(&self, rate: Option<PairRate>) {
        self.change(|state| state.program.pair_rate = rate);
    }

    /// Changes what Meta knows of us.
    pub fn change_account(&self, change: impl FnOnce(&mut Account)) {
        self.change(|state| change(&mut state.account));
    }

    /// Forgets everything programmed. Calls that wait at a gate go on waiting.
    pub fn clear_program(&self) {
        self.change(|state| state.program = fault::Program::default());
    }

    /// Refuses connections until [`Whatsapp::accept_again`].
    pub async fn refuse(&self) {
        self.server.refuse().await;
    }

    pub async fn accept_again(&self) -> anyhow::Result<()> {
        self.server.accept_again().await
    }

    // What there is to see.

    /// The messages that reached a person, in order; one sent twice is here twice.
    pub fn chat(&self, person: &Person) -> Vec<Bubble> {
        self.read(|state| state.chat(person).cloned().collect())
    }

    /// Both sides of the conversation.
    pub fn conversation(&self, person: &Person) -> Vec<Bubble> {
        self.read(|state| state.conversation(person).cloned().collect())
    }

    pub fn is_typing(&self, person: &Person) -> bool {
        self.read(|state| state.is_typing(person))
    }

    pub fn calls(&self) -> Vec<Call> {
        self.read(|state| state.calls.clone())
    }

    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.inner.state.borrow())
    }

    /// Waits until a person has been sent at least `count` messages, and returns all of them.
    pub async fn wait_for_reply(
        &self,
        person: &Person,
        count: usize,
        within: Duration,
    ) -> anyhow::Result<Vec<Bubble>> {
        self.wait_until(within, |state| {
            let chat: Vec<Bubble> = state.chat(person).cloned().collect();
            (chat.len() >= count).then_some(chat)
        })
        .await
        .with_context(|| {
            format!(
                "wait for {count} messages, {} came",
                self.chat(person).len()
            )
        })
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
                .with_context(|| format!("WhatsApp did not come to that within {within:?}"))?
                .context("watch WhatsApp")?;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.inner.state.send_modify(change);
    }
}

impl Inner {
    /// Runs something that ends with the simulator.
    fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(task))
    }

    fn begin_delivery(&self, body: &[u8]) -> usize {
        let tells = webhook::messages_in(body);
        let tells = tells.into_iter().map(|(_, wamid, _)| wamid).collect();
        let body = String::from_utf8_lossy(body).into_owned();
        let mut number = 0;
        self.state
            .send_modify(|state| number = state.begin_delivery(body, tells));
        number
    }

    /// Puts the messages of a webhook into the conversations, so that they can be marked read.
    fn hear(&self, body: &[u8]) {
        self.keep(body);
        for (person, wamid, text) in webhook::messages_in(body) {
            self.state
                .send_modify(|state| state.hear(person, wamid, text));
        }
    }

    /// 200 means that the product has the message.
    fn note_answer(&self, body: &[u8], status: Option<u16>) {
        if status == Some(200) {
            for (_, wamid, _) in webhook::messages_in(body) {
                self.state
                    .send_modify(|state| state.tick(&wamid, Ticks::Delivered));
            }
        }
    }
}
