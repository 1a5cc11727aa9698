//! One thing that happened, as both providers' bodies are cut into: `meta` and `kapso`.
//!
//! The inbox needs no more: which line, which key makes a repeat a no-op, and the bytes.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::raw::Object;

/// Meta's own limit for one body. Beyond it the whole body is kept once more, as one `Unknown`.
pub const MAX_UPDATES: usize = 1_000;
/// What an update takes along of its envelope: enough for a contact or the metadata, and too little
/// for one huge slice to be copied a thousand times.
pub(super) const MAX_SLICE_BYTES: usize = 4 * 1024;
/// A `wamid` has about 130 bytes; an index row in Postgres takes some 2,700.
const MAX_ID_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Message,
    Status,
    /// About a person and not from one: a changed number or user id.
    System,
    /// A person rings the number.
    Call,
    Unknown,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Status => "status",
            Self::System => "system",
            Self::Call => "call",
            Self::Unknown => "unknown",
        }
    }
}

/// No `Debug`: the body is a person's message.
pub struct Update {
    pub kind: Kind,
    pub phone_number_id: Option<String>,
    /// Unique per line and kind, the same whenever the provider sends the same update again.
    pub provider_id: String,
    pub provider_at: Option<DateTime<Utc>>,
    /// `{"field", "metadata", "contacts", "message" | "status" | "call"}` made of the bytes that came, each
    /// member only if it came; of the contacts only the one this update is about. An `Unknown` is
    /// what could not be cut, as it came, and need not be JSON.
    pub body: Vec<u8>,
}

impl Update {
    pub(super) fn unknown(raw: &[u8], phone_number_id: Option<String>) -> Self {
        Self {
            kind: Kind::Unknown,
            phone_number_id,
            provider_id: hash(raw),
            provider_at: None,
            body: raw.to_vec(),
        }
    }

    /// Its key is the provider's id where there is a usable one on a known line; a status has its
    /// message's, and so names itself as well, as the events of one call do.
    pub(super) fn of(
        kind: Kind,
        item: Option<&Object<'_>>,
        phone_number_id: Option<String>,
        body: Vec<u8>,
    ) -> Self {
        let text = |key| item.and_then(|item| item.text(key));
        let id = match kind {
            Kind::Status => text("id")
                .zip(text("status"))
                .map(|(id, state)| format!("{id}:{state}")),
            Kind::Call => text("id")
                .zip(text("event"))
                .map(|(id, event)| format!("{id}:{event}")),
            _ => text("id"),
        };
        let id = id.filter(|id| phone_number_id.is_some() && usable(id));
        Self {
            kind,
            provider_id: id.unwrap_or_else(|| hash(&body)),
            provider_at: item
                .and_then(|item| item.integer("timestamp"))
                .and_then(moment),
            phone_number_id,
            body,
        }
    }
}

/// What one body is cut into.
#[derive(Default)]
pub(super) struct Cuts {
    updates: Vec<Update>,
    /// Counts on when `updates` is full.
    pub found: usize,
}

impl Cuts {
    pub fn push(&mut self, update: impl FnOnce() -> Update) {
        self.found += 1;
        if self.found <= MAX_UPDATES {
            self.updates.push(update());
        }
    }

    /// At least one update per body, and nothing is lost.
    pub fn finish(mut self, body: &[u8]) -> Vec<Update> {
        if self.found == 0 {
            return vec![Update::unknown(body, None)];
        }
        if self.found > MAX_UPDATES {
            tracing::warn!(
                found = self.found,
                cut = MAX_UPDATES,
                "webhook holds too many updates"
            );
            self.updates.push(Update::unknown(body, None));
        }
        self.updates
    }
}

/// Postgres cannot store a NUL in text, nor index what is endless.
pub(super) fn usable(id: &str) -> bool {
    !id.is_empty() && !id.contains('\0') && id.len() <= MAX_ID_BYTES
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Unix seconds between 2001 and 2100; anything else (milliseconds, say) is no time at all.
pub(super) fn moment(seconds: i64) -> Option<DateTime<Utc>> {
    let plausible = (1_000_000_000..4_102_444_800).contains(&seconds);
    DateTime::from_timestamp(seconds, 0).filter(|_| plausible)
}
