//! A session's transcript as `chat.history` tells it: the log we consume with a cursor.
//!
//! Pure. Decides what each row means to a person: something their assistant said, their own
//! message, or OpenClaw talking to itself. OpenClaw hides `NO_REPLY` rows and splits a row of text
//! and tool calls into two with one id. Row shapes: recorded in `fixtures/`, where the facts of
//! each crash and failure were seen.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{lenient, read, word};

/// One message of an assistant; the rest of a longer one is cut off. A model is kept to 8,000
/// tokens, so only a sandbox gone wrong gets here.
pub const MAX_TEXT_BYTES: usize = 16 << 10;
const CUT: &str = " […]";
/// Rows looked at in one answer: OpenClaw sends at most 200 with a cursor, and we ask for fewer without.
const MAX_ROWS: usize = 1_000;
/// OpenClaw's own words when a run failed; its wording has no field of its own to go by.
const NOTICES: [&str; 4] = [
    "⚠️ Something went wrong while processing your request",
    "⚠️ Agent couldn't generate a response",
    "⚠️ Agent failed before reply",
    "This turn ended before a reply",
];

/// So it says that it was stopped before a run of its had begun: no model was asked.
const STOPPED: &str = "gateway is draining";

/// What one `chat.history` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The cursor is of no use any more: read the tail instead.
    pub reset: bool,
    /// In order; only what follows the cursor, if there was one.
    pub rows: Vec<Row>,
    /// Behind the last row. None: the session does not exist yet.
    pub cursor: Option<String>,
    pub session: Session,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The same in every reading, also after restarts.
    pub id: String,
    /// The run that wrote it; rows of users have none.
    pub run: Option<String>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message to the assistant, with our idempotency key if it was ours.
    Asked(Option<String>),
    /// OpenClaw telling itself to go on after a restart.
    Resumed,
    /// Words for the person.
    Said(String),
    /// The assistant answered with nothing.
    Empty,
    /// The run failed; the text is OpenClaw's notice and not for the person.
    Failed,
    /// The gateway was being stopped when the run was to begin.
    NotBegun,
    /// Tool calls and what was said beside them, tool results, thinking, silence, summaries.
    Hidden,
}

/// How the session is, at the moment of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// A run is under way or queued.
    pub busy: bool,
    /// It was cut off, and OpenClaw is about to resume it: seen right after a restart.
    pub interrupted: bool,
    /// Recovery gave up: this session never runs again.
    pub tombstoned: bool,
    /// How the latest run ended, and which it was. For a moment after a run's end this is still
    /// about the one before.
    pub last: Ending,
    pub last_run: Option<String>,
    pub active: Vec<String>,
    /// Inputs accepted and not yet in the transcript, by our key.
    pub queued: Vec<String>,
    /// Inputs that a restart cut off before they reached the transcript. They never run, and
    /// OpenClaw refuses their keys from now on.
    pub dead: Vec<String>,
}

/// How the session's latest run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    #[default]
    Unknown,
    Done,
    Failed,
    /// The gateway was being stopped when it was to begin.
    NotBegun,
    /// Aborted, also when the assistant insisted on `NO_REPLY`.
    Killed,
}

/// Reads the answer to `chat.history`. None: it is none.
pub fn page(payload: &RawValue) -> Option<Page> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        #[serde(default, deserialize_with = "lenient")]
        kind: String,
        #[serde(default, deserialize_with = "lenient")]
        messages: Vec<Box<RawValue>>,
        #[serde(default, deserialize_with = "lenient")]
        delta_cursor: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        session_info: Info,
        #[serde(default, deserialize_with = "lenient")]
        pending_inputs: Pending,
    }
    let wire: Wire = read(Some(payload))?;
    let mut rows = Vec::new();
    for message in wire.messages.iter().take(MAX_ROWS) {
        if let Some(row) = row(message) {
            push(&mut rows, row);
        }
    }
    Some(Page {
        reset: wire.kind == "reset",
        rows,
        cursor: wire.delta_cursor.as_deref().and_then(word),
        session: session(wire.session_info, wire.pending_inputs),
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(default, deserialize_with = "lenient")]
    has_active_run: bool,
    #[serde(default, deserialize_with = "lenient")]
    active_run_ids: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    status: String,
    #[serde(default, deserialize_with = "lenient")]
    last_run_id: String,
    #[serde(default, deserialize_with = "lenient")]
    last_run_error: String,
    #[serde(default, deserialize_with = "lenient")]
    restart_recovery_status: String,
}

#[derive(Default, Deserialize)]
struct Pending {
    #[serde(default, deserialize_with = "lenient")]
    items: Vec<Input>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    #[serde(default, deserialize_with = "lenient")]
    run_id: String,
    #[serde(default, deserialize_with = "lenient")]
    state: String,
}

fn session(info: Info, pending: Pending) -> Session {
    let busy = info.has_active_run || !info.active_run_ids.is_empty();
    let of = |queued: bool| {
        let wanted = |input: &&Input| (input.state == "queued") == queued;
        let inputs = pending.items.iter().filter(wanted);
        inputs.filter_map(|input| word(&input.run_id)).collect()
    };
    Session {
        busy,
        interrupted: !busy && info.status == "running",
        tombstoned: info.restart_recovery_status == "tombstoned",
        last: match info.status.as_str() {
            "done" => Ending::Done,
            "failed" if was_stopped(&info.last_run_error) => Ending::NotBegun,
            "failed" => Ending::Failed,
            "killed" => Ending::Killed,
            _ => Ending::Unknown,
        },
        last_run: word(&info.last_run_id),
        active: info
            .active_run_ids
            .iter()
            .filter_map(|id| word(id))
            .collect(),
        queued: of(true),
        dead: of(false),
    }
}

/// A row with a cursor, or told by an event, is wrapped; one of a tail is not.
pub fn row(raw: &RawValue) -> Option<Row> {
    #[derive(Deserialize)]
    struct Wrapped {
        message: Box<RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        #[serde(default, deserialize_with = "lenient")]
        role: String,
        #[serde(default, deserialize_with = "lenient")]
        content: Option<Box<RawValue>>,
        #[serde(default, deserialize_with = "lenient")]
        idempotency_key: String,
        #[serde(default, deserialize_with = "lenient")]
        stop_reason: String,
        /// What a run had said when it was aborted; it looks like an answer but for this.
        #[serde(default, deserialize_with = "lenient")]
        openclaw_abort: Option<Box<RawValue>>,
        #[serde(rename = "__openclaw")]
        own: Own,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        id: String,
        #[serde(default, deserialize_with = "lenient")]
        run_id: Option<String>,
    }
    let wrapped: Option<Wrapped> = read(Some(raw));
    let wire: Wire = read(Some(wrapped.as_ref().map_or(raw, |inner| &inner.message)))?;
    let content = content(wire.content.as_deref());
    let kind = match wire.role.as_str() {
        "user" if content.text.starts_with("[System]") => Kind::Resumed,
        "user" => Kind::Asked(wire.idempotency_key.strip_suffix(":user").and_then(word)),
        "assistant" if wire.openclaw_abort.is_some() => Kind::Hidden,
        "assistant" => said(content, &wire.idempotency_key, &wire.stop_reason),
        "custom" if is_notice(&content.text) && was_stopped(&content.text) => Kind::NotBegun,
        "custom" if is_notice(&content.text) => Kind::Failed,
        _ => Kind::Hidden,
    };
    Some(Row {
        id: word(&wire.own.id).filter(|id| !id.contains(' '))?,
        run: wire.own.run_id.as_deref().and_then(word),
        kind,
    })
}

fn said(content: Content, key: &str, stop_reason: &str) -> Kind {
    let recovery_notice = key.starts_with("main-session-restart-recovery:");
    let failed = key.ends_with(":terminal-error") || stop_reason == "error";
    let text = strip_directives(&content.text);
    let text = text.trim();
    match stop_reason {
        _ if failed || recovery_notice || is_notice(text) => Kind::Failed,
        "toolUse" | "aborted" => Kind::Hidden,
        _ if content.calls_tools || is_silence(text) => Kind::Hidden,
        _ if text.is_empty() => Kind::Empty,
        _ => Kind::Said(cut(text)),
    }
}

/// Appends a row; one with the id of its predecessor is a further part of it.
fn push(rows: &mut Vec<Row>, row: Row) {
    let Some(previous) = rows.last_mut().filter(|previous| previous.id == row.id) else {
        rows.push(row);
        return;
    };
    previous.kind = match (
        std::mem::replace(&mut previous.kind, Kind::Hidden),
        row.kind,
    ) {
        (Kind::Said(one), Kind::Said(two)) => Kind::Said(cut(&format!("{one}\n\n{two}"))),
        (Kind::Said(text), Kind::Empty) => Kind::Said(text),
        // Words beside a tool call are the assistant thinking aloud; OpenClaw's own `final` leaves them out.
        (_, later) => later,
    };
}

#[derive(Default)]
struct Content {
    text: String,
    calls_tools: bool,
}

/// Content is a string or a list of parts.
fn content(raw: Option<&RawValue>) -> Content {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default, deserialize_with = "lenient")]
        r#type: String,
        #[serde(default, deserialize_with = "lenient")]
        text: String,
    }
    if let Some(text) = read::<String>(raw) {
        return Content {
            text,
            calls_tools: false,
        };
    }
    let parts: Vec<Box<RawValue>> = read(raw).unwrap_or_default();
    let mut content = Content::default();
    for part in parts.iter().filter_map(|part| read::<Part>(Some(part))) {
        match part.r#type.as_str() {
            "text" => content.text.push_str(&part.text),
            "toolCall" => content.calls_tools = true,
            _ => {}
        }
    }
    content
}

fn was_stopped(text: &str) -> bool {
    text.to_lowercase().contains(STOPPED)
}

fn is_notice(text: &str) -> bool {
    NOTICES.iter().any(|notice| text.starts_with(notice))
}

/// The tokens by which a model says that it has nothing to say.
fn is_silence(text: &str) -> bool {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '.' || c == '*');
    text.eq_ignore_ascii_case("NO_REPLY") || text.eq_ignore_ascii_case("HEARTBEAT_OK")
}

/// `[[reply_to_current]]`, `[[reply_to:<id>]]` and `[[audio_as_voice]]` are for channels of OpenClaw's own.
fn strip_directives(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(start) = rest.find("[[") {
        let tag = &rest[start..];
        let known = ["[[reply_to_current]]", "[[audio_as_voice]]"];
        let length = match known.iter().find(|known| tag.starts_with(**known)) {
            Some(known) => known.len(),
            None if tag.starts_with("[[reply_to:") => tag.find("]]").map_or(2, |end| end + 2),
            None => 2,
        };
        kept.push_str(&rest[..start]);
        if length == 2 {
            kept.push_str("[[");
        }
        rest = &tag[length..];
    }
    kept.push_str(rest);
    kept
}

/// NUL cannot be stored, and nobody can read it either.
fn cut(text: &str) -> String {
    let mut text = text.replace('\0', "");
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES - CUT.len()));
        text.push_str(CUT);
    }
    text
}
