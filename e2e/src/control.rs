//! The simulators over HTTP, for shell scripts and for tests in other processes.
//!
//! A thin layer: every route does what a method of [`Whatsapp`], [`Model`] or [`Gates`] does, and
//! every body is one of their plain values as JSON. `clawkaka-sim --help` has the list. The page
//! for people, under `/`, is in `demo/`.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Gates, Model, Person, Then, Whatsapp, demo,
    model::Rule,
    server::Server,
    whatsapp::{FaultRule, Message, PairRate, ReceiptRule, Signature, Uploaded},
};

/// A little more than the largest webhook, so that one that is too large can be posted.
const MAX_BODY: usize = 16 << 20;
const DEFAULT_TIMEOUT_SECONDS: f64 = 60.0;
const MAX_TIMEOUT_SECONDS: f64 = 3600.0;

/// What the control API steers.
#[derive(Clone)]
pub struct Steering {
    pub whatsapp: Whatsapp,
    pub model: Model,
    pub gates: Gates,
    /// Which run of the simulators this is.
    pub run: Uuid,
}

/// A number alone is a whole person; an object is exactly what it says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Who {
    Phone(String),
    Person(Person),
}

#[derive(Deserialize)]
struct Say {
    person: Who,
    #[serde(default)]
    text: String,
    /// Another type than text, with its content.
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    content: Value,
    wamid: Option<String>,
    sent_at: Option<i64>,
    /// How often the webhook is posted, at the same time.
    copies: Option<usize>,
    /// Whether it is posted again until it is answered with 200.
    #[serde(default)]
    until_taken: bool,
}

#[derive(Deserialize)]
struct Wait {
    phone: Option<String>,
    gate: Option<String>,
    contains: Option<String>,
    count: Option<usize>,
    /// Seconds.
    timeout: Option<f64>,
}

#[derive(Deserialize)]
struct PostRaw {
    signature: Option<String>,
    copies: Option<usize>,
}

#[derive(Deserialize)]
struct Release {
    gate: String,
    then: Option<Then>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Service {
    Whatsapp,
    Model,
}

#[derive(Deserialize)]
struct Which {
    service: Service,
}

#[derive(Deserialize)]
struct Url {
    url: String,
}

#[derive(Deserialize)]
struct Address {
    phone: String,
}

pub async fn start(
    steering: Steering,
    port: u16,
    stop: CancellationToken,
) -> anyhow::Result<String> {
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/say", post(say))
        .route("/post", post(post_raw))
        .route("/webhook", post(set_webhook))
        .route("/chat/{phone}", get(chat))
        .route("/wait", get(wait))
        .route("/calls", get(calls))
        .route("/uploads", get(uploads))
        .route("/lists", get(lists))
        .route("/deliveries", get(deliveries))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/receipts", post(add_receipts))
        .route("/window/close", post(close_window))
        .route("/pair-rate", post(limit_pair_rate))
        .route("/rules", post(add_rule).delete(clear_rules))
        .route("/model/requests", get(model_requests))
        .route("/model/wait", get(model_wait))
        .route("/gates/wait", get(gate_wait))
        .route("/release", post(release))
        .route("/refuse", post(refuse))
        .route("/accept", post(accept))
        .merge(demo::routes(&steering))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(demo::guard))
        .with_state(steering.clone());
    let server = Server::start(port, router, stop).await?;
    Ok(server.url())
}

async fn say(State(to): State<Steering>, Json(say): Json<Say>) -> Response {
    let person = match say.person {
        Who::Phone(phone) => Person::new(&phone, "Ana"),
        Who::Person(person) => person,
    };
    let mut message = match say.kind {
        None => Message::text(&person, &say.text),
        Some(kind) => Message::of(&person, &kind, say.content),
    };
    message.wamid = say.wamid.unwrap_or(message.wamid);
    message.sent_at = say.sent_at.unwrap_or(message.sent_at);
    let body = to.whatsapp.body(std::slice::from_ref(&message));
    let statuses = if say.until_taken {
        vec![to.whatsapp.post_until_taken(&body).await]
    } else {
        to.whatsapp
            .post_copies(&body, say.copies.unwrap_or(1))
            .await
    };
    let all_taken = statuses.iter().all(|status| *status == Some(200));
    // A script with `curl --fail` should notice that the product does not take messages.
    let status = if all_taken {
        StatusCode::OK
    } else {
        StatusCode::BAD_GATEWAY
    };
    (
        status,
        Json(json!({"wamid": message.wamid, "statuses": statuses})),
    )
        .into_response()
}

async fn post_raw(
    State(to): State<Steering>,
    Query(how): Query<PostRaw>,
    body: Bytes,
) -> Json<Value> {
    let signature = match how.signature.as_deref() {
        None | Some("right") => Signature::Right,
        Some("missing") => Signature::Missing,
        Some(header) => Signature::Header(header.to_owned()),
    };
    let copies = (0..how.copies.unwrap_or(1)).map(|_| to.whatsapp.post_signed(&body, &signature));
    let statuses = futures_util::future::join_all(copies).await;
    Json(json!({"statuses": statuses}))
}

async fn set_webhook(State(to): State<Steering>, Json(Url { url }): Json<Url>) -> Json<Value> {
    to.whatsapp.set_webhook_url(&url);
    done()
}

async fn chat(State(to): State<Steering>, Path(phone): Path<String>) -> Json<Value> {
    let person = to.whatsapp.read(|state| state.person_at(&phone));
    Json(json!({
        "person": person,
        "typing": to.whatsapp.is_typing(&person),
        "messages": to.whatsapp.conversation(&person),
    }))
}

async fn wait(State(to): State<Steering>, Query(wait): Query<Wait>) -> Response {
    let Some(phone) = &wait.phone else {
        return missing("phone");
    };
    let person = Person::at(phone);
    let count = wait.count.unwrap_or(1);
    let found = to
        .whatsapp
        .wait_for_reply(&person, count, wait.within())
        .await;
    or_timeout(found.map(|messages| json!({"messages": messages})))
}

async fn calls(State(to): State<Steering>) -> Json<Value> {
    Json(json!(to.whatsapp.calls()))
}

async fn uploads(State(to): State<Steering>) -> Json<Value> {
    let told = |file: &Uploaded| json!({"id": file.id, "mime": file.mime, "name": file.name, "size": file.bytes.len()});
    let uploads = to
        .whatsapp
        .read(|state| state.uploads.iter().map(told).collect());
    Json(uploads)
}

async fn lists(State(to): State<Steering>) -> Json<Value> {
    Json(to.whatsapp.read(|state| json!(state.keeping.listings)))
}

async fn deliveries(State(to): State<Steering>) -> Json<Value> {
    Json(to.whatsapp.read(|state| json!(state.deliveries)))
}

async fn add_fault(State(to): State<Steering>, Json(rule): Json<FaultRule>) -> Json<Value> {
    to.whatsapp.program(rule);
    done()
}

async fn clear_faults(State(to): State<Steering>) -> Json<Value> {
    to.whatsapp.clear_program();
    done()
}

async fn add_receipts(State(to): State<Steering>, Json(rule): Json<ReceiptRule>) -> Json<Value> {
    to.whatsapp.program_receipts(rule);
    done()
}

async fn close_window(State(to): State<Steering>, Json(at): Json<Address>) -> Json<Value> {
    let person = to.whatsapp.read(|state| state.person_at(&at.phone));
    to.whatsapp.close_window(&person);
    done()
}

async fn limit_pair_rate(
    State(to): State<Steering>,
    Json(rate): Json<Option<PairRate>>,
) -> Json<Value> {
    to.whatsapp.limit_pair_rate(rate);
    done()
}

async fn add_rule(State(to): State<Steering>, Json(rule): Json<Rule>) -> Json<Value> {
    to.model.program(rule);
    done()
}

async fn clear_rules(State(to): State<Steering>) -> Json<Value> {
    to.model.clear_program();
    done()
}

async fn model_requests(State(to): State<Steering>) -> Json<Value> {
    Json(json!(to.model.requests()))
}

async fn model_wait(State(to): State<Steering>, Query(wait): Query<Wait>) -> Response {
    let Some(contains) = &wait.contains else {
        return missing("contains");
    };
    let found = to.model.wait_for_request(contains, wait.within()).await;
    or_timeout(found.map(|request| json!(request)))
}

async fn gate_wait(State(to): State<Steering>, Query(wait): Query<Wait>) -> Response {
    let Some(gate) = &wait.gate else {
        return missing("gate");
    };
    let reached = to
        .gates
        .reached(gate, wait.count.unwrap_or(1), wait.within())
        .await;
    or_timeout(reached.map(|()| json!({"ok": true})))
}

async fn release(State(to): State<Steering>, Json(release): Json<Release>) -> Json<Value> {
    to.gates
        .release(&release.gate, release.then.unwrap_or(Then::Go));
    done()
}

async fn refuse(State(to): State<Steering>, Json(which): Json<Which>) -> Json<Value> {
    match which.service {
        Service::Whatsapp => to.whatsapp.refuse().await,
        Service::Model => to.model.refuse().await,
    }
    done()
}

async fn accept(State(to): State<Steering>, Json(which): Json<Which>) -> Response {
    let accepted = match which.service {
        Service::Whatsapp => to.whatsapp.accept_again().await,
        Service::Model => to.model.accept_again().await,
    };
    match accepted {
        Ok(()) => done().into_response(),
        Err(error) => failure(StatusCode::CONFLICT, &format!("{error:#}")),
    }
}

impl Wait {
    fn within(&self) -> Duration {
        let seconds = self.timeout.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        Duration::from_secs_f64(seconds.clamp(0.0, MAX_TIMEOUT_SECONDS))
    }
}

fn done() -> Json<Value> {
    Json(json!({"ok": true}))
}

fn or_timeout(found: anyhow::Result<Value>) -> Response {
    match found {
        Ok(found) => Json(found).into_response(),
        Err(error) => failure(StatusCode::REQUEST_TIMEOUT, &format!("{error:#}")),
    }
}

fn missing(parameter: &str) -> Response {
    failure(
        StatusCode::BAD_REQUEST,
        &format!("the parameter {parameter} is required"),
    )
}

fn failure(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error}))).into_response()
}
