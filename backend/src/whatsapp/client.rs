//! Sends to WhatsApp through Meta's Graph API, or Kapso's proxy of it.
//!
//! Called by `worker/send`, by `worker/exchange` for files and for reading, and by an operator who tries
//! a line. One call is one request: retries, order and rates are the
//! outbox's. Promises that a failure says whether the message may have been sent, and that no error
//! carries the recipient, the text or the token. There is no idempotency key on `/messages`, so the
//! callback data is what finds an unclear send again: it comes back with every receipt
//! (Meta docs: Cloud API, messages).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use reqwest::{
    RequestBuilder,
    multipart::{Form, Part},
};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::event::Sender;
use super::failure::{Class, SendError};
use super::group;
use super::outgoing::Outgoing;
use super::provider::Api;
use crate::clock::Clock;

/// Covers name, TCP and TLS. Under `REQUEST_TIMEOUT`, so that a dead network is told apart from a
/// slow answer: only the first proves that nothing was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Meta answers in well under a second; its own gateways give up after about 30 s. Waiting longer
/// holds up the person's next message, and a shorter wait turns slow answers into unclear ones.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// 16 MB over a slow line.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Servers close idle connections. A request that meets the closing is an unclear send and costs a
/// wait of 90 s, so we close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// An answer has a few hundred bytes. What a broken proxy sends in its place is not read on.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// A longer `Retry-After` is not believed: the circuit breaker looks again by itself.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The business number a message goes out from.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub api: &'a Api,
    pub phone_number_id: &'a str,
    pub access_token: &'a SecretString,
}

#[derive(Clone, PartialEq)]
pub enum Recipient {
    /// Digits, as in [`Sender::phone`].
    Phone(String),
    UserId(String),
    Group(String),
}

/// WhatsApp took the message. It may still fail to arrive: receipts tell.
#[derive(Clone, PartialEq)]
pub struct Accepted {
    pub wamid: String,
}

#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
}

/// How a client for `Client::new` is built, so that nothing below us doubles a POST.
///
/// - Redirects off: a 307 repeats the POST, elsewhere.
/// - reqwest's retries off. Its default repeats what an HTTP/2 server refused (reqwest 0.13,
///   `retry`), harmless but not ours to see. hyper-util also repeats a request, but only one that a
///   closed idle connection handed back unwritten (`TrySendError::Retryable`), which sends nothing
///   twice.
pub fn http_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .user_agent(concat!("clawkaka/", env!("CARGO_PKG_VERSION")))
}

impl Client {
    /// `http` comes from [`http_builder`].
    pub fn new(http: reqwest::Client) -> Self {
        Self { http }
    }

    /// Sends one message. `callback` has at most 512 characters.
    pub async fn send(
        &self,
        line: Line<'_>,
        to: &Recipient,
        message: &Outgoing,
        callback: &str,
    ) -> Result<Accepted, SendError> {
        let message = match to {
            Recipient::Group(_) => group::fit(message),
            _ => Cow::Borrowed(message),
        };
        let (kind, content) = message.wire();
        let mut message = json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "type": kind,
            "biz_opaque_callback_data": callback,
        });
        message[kind] = content;
        match to {
            // Without the plus Meta may put our own country's code in front.
            Recipient::Phone(digits) => message["to"] = json!(format!("+{digits}")),
            // `to` would win if both were there, so it must be absent.
            Recipient::UserId(id) => message["recipient"] = json!(id),
            Recipient::Group(id) => {
                message["recipient_type"] = json!("group");
                message["to"] = json!(id);
            }
        }
        let answer = self.post(line, &message).await?;
        let wamid = answer.pointer("/messages/0/id").and_then(Value::as_str);
        match wamid.filter(|wamid| !wamid.is_empty()) {
            Some(wamid) => Ok(Accepted {
                wamid: wamid.to_owned(),
            }),
            // Taken, it seems, but by what? A receipt will say.
            None => Err(SendError::new(Class::Unclear)),
        }
    }

    /// Turns the ticks blue, up to and including this message. `typing` also shows that an answer
    /// is on its way, until it comes or 25 s have passed; the same call again refreshes it.
    /// WhatsApp has no typing without reading.
    pub async fn mark_read(
        &self,
        line: Line<'_>,
        wamid: &str,
        typing: bool,
    ) -> Result<(), SendError> {
        let mut receipt = json!({
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": wamid,
        });
        if typing {
            receipt["typing_indicator"] = json!({ "type": "text" });
        }
        self.post(line, &receipt).await.map(drop)
    }

    async fn post(&self, line: Line<'_>, body: &Value) -> Result<Value, SendError> {
        let url = line.api.url(&[line.phone_number_id, "messages"]);
        let url = url.ok_or(SendError::new(Class::BadRequest))?;
        self.ask(line, self.http.post(url).json(body)).await
    }

    /// Gives WhatsApp a file, which it keeps for 30 days (Meta docs: media, upload); its id of it. A file
    /// that is given twice harms nothing.
    pub async fn upload(
        &self,
        line: Line<'_>,
        bytes: Vec<u8>,
        mime: &'static str,
        name: &str,
    ) -> Result<String, SendError> {
        let url = line.api.url(&[line.phone_number_id, "media"]);
        let url = url.ok_or(SendError::new(Class::BadRequest))?;
        let file = Part::bytes(bytes).file_name(name.to_owned());
        let file = file.mime_str(mime);
        let form = Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", mime)
            .part("file", file.map_err(|_| SendError::new(Class::BadRequest))?);
        let request = self.http.post(url).multipart(form).timeout(UPLOAD_TIMEOUT);
        let answer = self.ask(line, request).await?;
        let id = answer.get("id").and_then(Value::as_str);
        id.filter(|id| !id.is_empty())
            .map(ToOwned::to_owned)
            .ok_or(SendError::new(Class::Unclear))
    }

    async fn ask(&self, line: Line<'_>, request: RequestBuilder) -> Result<Value, SendError> {
        let sent = line.api.authorize(request, line.access_token).send().await;
        let response = sent.map_err(|error| SendError::new(class_of(&error)))?;
        compare_clocks(&response);
        let status = response.status();
        let retry_after = retry_after(&response);
        let answer: Option<Value> = read(response, MAX_ANSWER_BYTES)
            .await
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match answer {
            Some(answer) if status.is_success() => Ok(answer),
            None if status.is_success() => Err(SendError {
                status: Some(status.as_u16()),
                ..SendError::new(Class::Unclear)
            }),
            answer => Err(refusal(status.as_u16(), retry_after, answer.as_ref())),
        }
    }
}

impl Sender {
    /// Where an answer to this person goes: the group if it was one, else the phone they just wrote
    /// from, which every API version takes, else the user id.
    pub fn recipient(&self) -> Option<Recipient> {
        let group = self.group.clone().map(Recipient::Group);
        let phone = || self.phone.clone().map(Recipient::Phone);
        let user_id = || self.user_id.clone().map(Recipient::UserId);
        group.or_else(phone).or_else(user_id)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Phone(_) => "Phone(..)",
            Self::UserId(_) => "UserId(..)",
            Self::Group(_) => "Group(..)",
        })
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accepted({})", super::short_id(&self.wamid))
    }
}

/// `is_connect` holds for name, TCP and TLS, `CONNECT_TIMEOUT` included, and never once a request
/// was handed to a connection (hyper-util, `client::legacy::Error`). A builder error (a line break
/// in the token, say) is ours. All else, time-outs first, may have reached WhatsApp.
fn class_of(error: &reqwest::Error) -> Class {
    if error.is_connect() {
        Class::NotConnected
    } else if error.is_builder() {
        Class::BadRequest
    } else {
        Class::Unclear
    }
}

/// What an answer that is no success says: `{"error": {"code", "error_subcode"?, "fbtrace_id",
/// "is_transient"?, …}}`.
pub(super) fn refusal(
    status: u16,
    retry_after: Option<Duration>,
    answer: Option<&Value>,
) -> SendError {
    let error = answer.and_then(|answer| answer.get("error"));
    let number = |name| {
        error
            .and_then(|error| error.get(name))
            .and_then(Value::as_i64)
    };
    let code = number("code");
    let said_transient = error.and_then(|error| error.get("is_transient")) == Some(&json!(true));
    let class = match code {
        Some(code) => Class::of_code(code).unwrap_or(match Class::of_status(status) {
            // Graph itself answered, so nothing is unclear.
            Class::Unclear => Class::Transient,
            _ if said_transient => Class::Transient,
            class => class,
        }),
        None => Class::of_status(status),
    };
    let trace = error
        .and_then(|error| error.get("fbtrace_id"))
        .and_then(Value::as_str);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let trace = trace.filter(|trace| trace.len() <= 40 && trace.chars().all(plain));
    SendError {
        class,
        retry_after,
        status: Some(status),
        code,
        subcode: number("error_subcode"),
        trace: trace.map(ToOwned::to_owned),
    }
}

/// WhatsApp says what time it is with every answer, to the second. A clock of ours that is off breaks
/// the 24-hour window and receipts' order.
fn compare_clocks(response: &reqwest::Response) {
    let theirs = response.headers().get(reqwest::header::DATE);
    let theirs = theirs
        .and_then(|date| date.to_str().ok())
        .and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    if let Some(theirs) = theirs {
        let ahead = Clock::System.now() - theirs.to_utc();
        metrics::gauge!("clawkaka_clock_ahead_seconds").set(ahead.as_seconds_f64());
    }
}

/// Seconds only. The other form, a date, is not used by Meta and would need the server's clock.
pub(super) fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let header = response.headers().get(reqwest::header::RETRY_AFTER)?;
    let seconds = header.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// `None` if the answer broke off or is far too long.
pub(super) async fn read(mut response: reqwest::Response, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > most {
            return None;
        }
    }
    Some(bytes)
}
