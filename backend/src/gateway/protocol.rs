//! OpenClaw's gateway protocol, version 4, without any socket: what we send and what we understand.
//!
//! Nothing a sandbox sends is trusted. A frame is looked at in two steps, envelope first, so that
//! what we do not use is never built in memory; unknown fields are ignored, a field of the wrong
//! type counts as absent, and nothing here can panic. Names and shapes: `protocol.schema.json` of
//! npm `@openclaw/gateway-protocol`, against which the tests validate what we send.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    device::{self, Device},
    suspend::Suspension,
    wire::{lenient, read, short, word},
};

pub const VERSION: u32 = 4;
/// A frame longer than this closes the socket; OpenClaw itself would send 25 MB.
pub const MAX_FRAME_BYTES: usize = 8 << 20;
/// The challenge is some 150 bytes; who opens with more is not OpenClaw.
pub const MAX_FIRST_FRAME_BYTES: usize = 64 << 10;
/// What OpenClaw cuts long texts to in a history; a little over what we keep, so that we cut.
const HISTORY_TEXT_CHARS: u32 = 20_000;
/// Rows of a first read or after a reset.
pub const TAIL_ROWS: u32 = 200;

/// What we ask for. `operator.admin` because OpenClaw refuses `suppressCommandInterpretation`
/// without it, and without that flag a person's "/new" or "stop" would be a command.
pub const SCOPES: [&str; 3] = ["operator.admin", "operator.read", "operator.write"];

/// What we ask a gateway to do.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Request<'a> {
    Connect(Connect<'a>),
    Send(Send<'a>),
    History(History<'a>),
    Subscribe(Subscribe<'a>),
    Abort(Abort<'a>),
    Delete(Delete<'a>),
    Suspension(Suspension<'a>),
    SetFile(SetFile<'a>),
}

impl Request<'_> {
    fn method(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Send(_) => "chat.send",
            Self::History(_) => "chat.history",
            Self::Subscribe(_) => "sessions.messages.subscribe",
            Self::Abort(_) => "sessions.abort",
            Self::Delete(_) => "sessions.delete",
            Self::Suspension(suspension) => suspension.method(),
            Self::SetFile(_) => "agents.files.set",
        }
    }

    /// The frame; `id` comes back with the answer.
    pub fn encode(&self, id: u64) -> String {
        #[derive(Serialize)]
        struct Frame<'a> {
            r#type: &'static str,
            id: String,
            method: &'static str,
            params: &'a Request<'a>,
        }
        serde_json::to_string(&Frame {
            r#type: "req",
            id: id.to_string(),
            method: self.method(),
            params: self,
        })
        .expect("these types have string keys only")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connect<'a> {
    min_protocol: u32,
    max_protocol: u32,
    client: Client,
    role: &'static str,
    scopes: [&'static str; 3],
    auth: Auth<'a>,
    device: Proof<'a>,
}

#[derive(Serialize)]
struct Client {
    id: &'static str,
    version: &'static str,
    platform: &'static str,
    mode: &'static str,
}

#[derive(Serialize)]
struct Auth<'a> {
    token: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Proof<'a> {
    id: &'a str,
    public_key: &'a str,
    signature: String,
    signed_at: u64,
    nonce: &'a str,
}

impl<'a> Connect<'a> {
    pub fn new(device: &'a Device, token: &'a str, challenge: &'a Challenge) -> Self {
        Self {
            min_protocol: VERSION,
            max_protocol: VERSION,
            client: Client {
                id: device::CLIENT_ID,
                version: env!("CARGO_PKG_VERSION"),
                platform: device::PLATFORM,
                mode: device::CLIENT_MODE,
            },
            role: device::ROLE,
            scopes: SCOPES,
            auth: Auth { token },
            device: Proof {
                id: &device.id,
                public_key: &device.public_key,
                signature: device.sign(token, &SCOPES, &challenge.nonce, challenge.ts),
                signed_at: challenge.ts,
                nonce: &challenge.nonce,
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Send<'a> {
    session_key: &'a str,
    message: String,
    idempotency_key: &'a str,
    /// A plain send is merged into a running turn and loses its own answer; a follow-up waits.
    queue_mode: &'static str,
    suppress_command_interpretation: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attachments: &'a [Attachment],
}

/// A picture that the model sees with the message. OpenClaw keeps what is larger than 2 MB in a file
/// of its own, and refuses one above 6 MB.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    pub r#type: &'static str,
    pub mime_type: &'static str,
    pub file_name: String,
    /// Base64.
    pub content: String,
}

impl<'a> Send<'a> {
    pub fn new(session: &'a str, text: &str, attachments: &'a [Attachment], key: &'a str) -> Self {
        // OpenClaw refuses NUL; the other control characters mean nothing in a chat.
        let plain = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        Self {
            session_key: session,
            message: text.chars().filter(plain).collect(),
            idempotency_key: key,
            queue_mode: "followup",
            suppress_command_interpretation: true,
            attachments,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct History<'a> {
    session_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    /// OpenClaw takes either a cursor or a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    max_chars: u32,
}

impl<'a> History<'a> {
    pub fn new(session: &'a str, cursor: Option<&'a str>) -> Self {
        Self {
            session_key: session,
            cursor,
            limit: cursor.is_none().then_some(TAIL_ROWS),
            max_chars: HISTORY_TEXT_CHARS,
        }
    }
}

/// Has a session's new rows told to this connection.
#[derive(Serialize)]
pub struct Subscribe<'a> {
    pub key: &'a str,
}

/// Stops whatever runs or waits in a session.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort<'a> {
    key: &'a str,
    clear_queued: bool,
}

impl<'a> Abort<'a> {
    pub fn new(session: &'a str) -> Self {
        Self {
            key: session,
            clear_queued: true,
        }
    }
}

/// Throws a session away, its transcript too.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delete<'a> {
    pub key: &'a str,
    pub delete_transcript: bool,
}

/// Writes one of the files that an agent sees in every conversation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetFile<'a> {
    agent_id: &'static str,
    name: &'a str,
    content: &'a str,
}

impl<'a> SetFile<'a> {
    pub fn new(name: &'a str, content: &'a str) -> Self {
        Self {
            agent_id: "main",
            name,
            content,
        }
    }
}

/// What a gateway said, as far as we care.
#[derive(Debug)]
pub enum Frame {
    Challenge(Challenge),
    /// `None`: an id that is not one of ours.
    Response(Option<u64>, Result<Box<RawValue>, Rejection>),
    Chat(Chat),
    /// A new row in the transcript of a session, in the shape in which a history tells it.
    Message(String, Box<RawValue>),
    /// Another event, or something we do not know: a sign of life and nothing else.
    Other,
}

#[derive(Debug, Deserialize)]
pub struct Challenge {
    pub nonce: String,
    pub ts: u64,
}

/// Why a request was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    pub code: String,
    /// `details.reason` or, where that is missing, `details.code`.
    pub reason: String,
    pub message: String,
    pub retry_after: Option<Duration>,
}

/// Something happened in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Our name for it: without `agent:main:`.
    pub session: String,
    pub run: String,
    /// The run ended: `final`, `error` or `aborted`. What that means stands in the transcript.
    pub ended: bool,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ok: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Reads one frame. What is not even an object is [`Frame::Other`], too.
pub fn decode(text: &str) -> Frame {
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else {
        return Frame::Other;
    };
    match read::<String>(envelope.r#type).as_deref() {
        Some("res") => response(&envelope),
        Some("event") => event(&envelope).unwrap_or(Frame::Other),
        _ => Frame::Other,
    }
}

fn response(envelope: &Envelope<'_>) -> Frame {
    let id = read::<String>(envelope.id).and_then(|id| id.parse().ok());
    if read::<bool>(envelope.ok) == Some(true) {
        let nothing = || RawValue::from_string("null".into()).expect("null is JSON");
        return Frame::Response(
            id,
            Ok(envelope.payload.map_or_else(nothing, ToOwned::to_owned)),
        );
    }
    Frame::Response(id, Err(rejection(envelope.error)))
}

fn rejection(error: Option<&RawValue>) -> Rejection {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        #[serde(default, deserialize_with = "lenient")]
        code: String,
        #[serde(default, deserialize_with = "lenient")]
        message: String,
        #[serde(default, deserialize_with = "lenient")]
        details: Details,
        #[serde(default, deserialize_with = "lenient")]
        retry_after_ms: Option<u64>,
    }
    #[derive(Default, Deserialize)]
    struct Details {
        #[serde(default, deserialize_with = "lenient")]
        reason: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        code: Option<String>,
    }
    let wire: Wire = read(error).unwrap_or_default();
    let reason = wire.details.reason.or(wire.details.code);
    Rejection {
        code: short(wire.code),
        reason: short(reason.unwrap_or_default()),
        message: short(wire.message),
        retry_after: wire.retry_after_ms.map(Duration::from_millis),
    }
}

fn event(envelope: &Envelope<'_>) -> Option<Frame> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        session_key: String,
        run_id: String,
        #[serde(default, deserialize_with = "lenient")]
        state: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        session_key: String,
    }
    match read::<String>(envelope.event)?.as_str() {
        "connect.challenge" => read(envelope.payload).map(Frame::Challenge),
        "chat" => {
            let wire: Wire = read(envelope.payload)?;
            Some(Frame::Chat(Chat {
                session: session(&wire.session_key)?,
                run: word(&wire.run_id)?,
                ended: matches!(wire.state.as_str(), "final" | "error" | "aborted"),
            }))
        }
        "session.message" => {
            let told: Told = read(envelope.payload)?;
            let row = envelope.payload?.to_owned();
            Some(Frame::Message(session(&told.session_key)?, row))
        }
        _ => None,
    }
}

/// OpenClaw's name for a session is longer than ours.
fn session(key: &str) -> Option<String> {
    word(key.strip_prefix("agent:main:").unwrap_or(key))
}
