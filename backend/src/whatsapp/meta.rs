//! Cuts an authentic body from Meta into updates, without understanding them.
//!
//! Called by `http/webhook` after the signature. It looks only for what the inbox needs: which
//! line, which key makes a repeat a no-op, and where one update ends. What it means is `event`'s.
//! Promises: at least one update per body; never an error; a broken item never costs a sibling, and
//! what cannot be cut is kept whole as `Unknown`. Must never decide, drop or log content.
//!
//! One body holds up to 1,000 updates in any mix of entries and changes (Meta docs: webhooks,
//! overview).

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::raw::{Object, items};

/// Meta's own limit for one body. Beyond it the whole body is kept once more, as one `Unknown`.
pub const MAX_UPDATES: usize = 1_000;
/// What an update takes along of its envelope: enough for a contact or the metadata, and too little
/// for one huge slice to be copied a thousand times.
const MAX_SLICE_BYTES: usize = 4 * 1024;
/// A `wamid` has about 130 bytes; an index row in Postgres takes some 2,700.
const MAX_ID_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Message,
    Status,
    /// About a person and not from one: a changed number or user id.
    System,
    Unknown,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Status => "status",
            Self::System => "system",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that happened. No `Debug`: the body is a person's message.
pub struct Update {
    pub kind: Kind,
    pub phone_number_id: Option<String>,
    /// Unique per line and kind, the same whenever Meta sends the same update again.
    pub provider_id: String,
    pub provider_at: Option<DateTime<Utc>>,
    /// `{"field", "metadata", "contacts", "message" | "status"}` made of the bytes that came, each
    /// member only if it came; of the contacts only the one this update is about. An `Unknown` is
    /// what could not be cut, as it came, and need not be JSON.
    pub body: Vec<u8>,
}

pub fn cut(body: &[u8]) -> Vec<Update> {
    let mut cuts = Cuts {
        updates: Vec::new(),
        found: 0,
    };
    if let Some(top) = Object::parse(body) {
        for list in top.all("entry") {
            cuts.each(list, Cuts::entry);
        }
    }
    if cuts.found == 0 {
        return vec![unknown(body, None)];
    }
    if cuts.found > MAX_UPDATES {
        tracing::warn!(
            found = cuts.found,
            cut = MAX_UPDATES,
            "webhook holds too many updates"
        );
        cuts.updates.push(unknown(body, None));
    }
    cuts.updates
}

struct Cuts {
    updates: Vec<Update>,
    /// Counts on when `updates` is full.
    found: usize,
}

impl Cuts {
    fn push(&mut self, update: impl FnOnce() -> Update) {
        self.found += 1;
        if self.found <= MAX_UPDATES {
            self.updates.push(update());
        }
    }

    fn each(&mut self, list: &RawValue, one: fn(&mut Self, &RawValue)) {
        match items(list) {
            Some(items) => items.into_iter().for_each(|item| one(self, item)),
            None => self.push(|| unknown(list.get().as_bytes(), None)),
        }
    }

    fn entry(&mut self, raw: &RawValue) {
        let before = self.found;
        if let Some(entry) = Object::read(raw) {
            for list in entry.all("changes") {
                self.each(list, Self::change);
            }
        }
        if self.found == before {
            self.push(|| unknown(raw.get().as_bytes(), None));
        }
    }

    fn change(&mut self, raw: &RawValue) {
        let before = self.found;
        let change = Object::read(raw);
        let value = change.as_ref().and_then(|change| change.object("value"));
        let envelope = Envelope::read(change.as_ref(), value.as_ref());
        // `user_id_update` is a field of its own since 2026 and says what a `system` message says.
        for name in ["messages", "statuses", "user_id_update"] {
            for list in value.iter().flat_map(|value| value.all(name)) {
                match items(list) {
                    Some(items) => items
                        .into_iter()
                        .for_each(|item| self.push(|| envelope.update(name, item))),
                    None => self.push(|| unknown(list.get().as_bytes(), envelope.line())),
                }
            }
        }
        if self.found == before {
            self.push(|| unknown(raw.get().as_bytes(), envelope.line()));
        }
    }
}

/// What the updates of one change share.
#[derive(Default)]
struct Envelope<'a> {
    field: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    phone_number_id: Option<String>,
    contacts: Vec<Contact<'a>>,
}

struct Contact<'a> {
    raw: &'a RawValue,
    user_id: Option<String>,
    phone: Option<String>,
}

impl<'a> Envelope<'a> {
    fn read(change: Option<&Object<'a>>, value: Option<&Object<'a>>) -> Self {
        let Some(value) = value else {
            return Self::default();
        };
        let metadata = value.object("metadata");
        let contacts = value.get("contacts").and_then(items).unwrap_or_default();
        Self {
            field: change.and_then(|change| change.get("field")),
            metadata: value.get("metadata"),
            phone_number_id: metadata
                .and_then(|metadata| metadata.text("phone_number_id"))
                .filter(|id| usable(id)),
            contacts: contacts
                .into_iter()
                .take(MAX_UPDATES)
                .map(Contact::read)
                .collect(),
        }
    }

    fn line(&self) -> Option<String> {
        self.phone_number_id.clone()
    }

    fn update(&self, list: &str, raw: &RawValue) -> Update {
        let item = Object::read(raw);
        let text = |key| item.as_ref().and_then(|item| item.text(key));
        let kind = match list {
            _ if item.is_none() => Kind::Unknown,
            "statuses" => Kind::Status,
            "messages" if text("type").as_deref() != Some("system") => Kind::Message,
            _ => Kind::System,
        };
        let name = if list == "statuses" {
            "status"
        } else {
            "message"
        };
        let body = self.wrap(name, raw, item.as_ref());
        let id = match kind {
            Kind::Status => text("id")
                .zip(text("status"))
                .map(|(id, state)| format!("{id}:{state}")),
            _ => text("id").filter(|id| !id.is_empty()),
        };
        let provider_id = match id {
            Some(id) if self.phone_number_id.is_some() && usable(&id) => id,
            _ => hash(&body),
        };
        let provider_at = item
            .and_then(|item| item.integer("timestamp"))
            .and_then(moment);
        Update {
            kind,
            phone_number_id: self.line(),
            provider_id,
            provider_at,
            body,
        }
    }

    fn wrap(&self, name: &str, raw: &RawValue, item: Option<&Object<'_>>) -> Vec<u8> {
        let contact = item
            .and_then(|item| self.contact_of(item))
            .map(|contact| contact.raw);
        let short = |slice: &&RawValue| slice.get().len() <= MAX_SLICE_BYTES;
        let mut body = String::from("{");
        if let Some(field) = self.field.filter(short) {
            body.extend(["\"field\":", field.get(), ","]);
        }
        if let Some(metadata) = self.metadata.filter(short) {
            body.extend(["\"metadata\":", metadata.get(), ","]);
        }
        if let Some(contact) = contact.filter(short) {
            body.extend(["\"contacts\":[", contact.get(), "],"]);
        }
        body.extend(["\"", name, "\":", raw.get(), "}"]);
        body.into_bytes()
    }

    /// The contact an item is about: by user id, else by phone, else the only one, if nothing in it
    /// says otherwise. A wrong one would open somebody else's assistant.
    fn contact_of(&self, item: &Object<'_>) -> Option<&Contact<'a>> {
        let either = |a, b| {
            item.text(a)
                .or_else(|| item.text(b))
                .filter(|id| !id.is_empty())
        };
        let user_id = either("from_user_id", "recipient_user_id");
        let phone = either("from", "recipient_id");
        let same =
            |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
        let differ = |ours: &Option<String>, theirs: &Option<String>| {
            ours.is_some() && theirs.is_some() && ours != theirs
        };
        let by_user_id = self
            .contacts
            .iter()
            .find(|contact| same(&user_id, &contact.user_id));
        by_user_id.or_else(|| {
            let open = |contact: &&Contact<'_>| !differ(&user_id, &contact.user_id);
            let by_phone = |contact: &&Contact<'_>| open(contact) && same(&phone, &contact.phone);
            self.contacts
                .iter()
                .find(by_phone)
                .or_else(|| match self.contacts.as_slice() {
                    [only] if open(&only) && !differ(&phone, &only.phone) => Some(only),
                    _ => None,
                })
        })
    }
}

impl<'a> Contact<'a> {
    fn read(raw: &'a RawValue) -> Self {
        let object = Object::read(raw);
        let text = |key| object.as_ref()?.text(key).filter(|id| !id.is_empty());
        Self {
            raw,
            user_id: text("user_id"),
            phone: text("wa_id"),
        }
    }
}

fn unknown(raw: &[u8], phone_number_id: Option<String>) -> Update {
    Update {
        kind: Kind::Unknown,
        phone_number_id,
        provider_id: hash(raw),
        provider_at: None,
        body: raw.to_vec(),
    }
}

/// Postgres cannot store a NUL in text, nor index what is endless.
fn usable(id: &str) -> bool {
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
