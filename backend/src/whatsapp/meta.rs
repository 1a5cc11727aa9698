//! Cuts an authentic body from Meta into updates, without understanding them.
//!
//! Called by `http/webhook` after the signature. It looks only for what the inbox needs: which
//! line, which key makes a repeat a no-op, and where one update ends. What it means is `event`'s.
//! Promises: at least one update per body; never an error; a broken item never costs a sibling, and
//! what cannot be cut is kept whole as `Unknown`. Must never decide, drop or log content.
//!
//! One body holds up to 1,000 updates in any mix of entries and changes (Meta docs: webhooks,
//! overview).

use serde_json::value::RawValue;

use super::raw::{Object, items};
use super::update::{Cuts, Kind, MAX_SLICE_BYTES, MAX_UPDATES, Update, usable};

pub fn cut(body: &[u8]) -> Vec<Update> {
    let mut cuts = Cuts::default();
    if let Some(top) = Object::parse(body) {
        for list in top.all("entry") {
            each(&mut cuts, list, entry);
        }
    }
    cuts.finish(body)
}

fn each(cuts: &mut Cuts, list: &RawValue, one: fn(&mut Cuts, &RawValue)) {
    match items(list) {
        Some(items) => items.into_iter().for_each(|item| one(cuts, item)),
        None => cuts.push(|| Update::unknown(list.get().as_bytes(), None)),
    }
}

fn entry(cuts: &mut Cuts, raw: &RawValue) {
    let before = cuts.found;
    if let Some(entry) = Object::read(raw) {
        for list in entry.all("changes") {
            each(cuts, list, change);
        }
    }
    if cuts.found == before {
        cuts.push(|| Update::unknown(raw.get().as_bytes(), None));
    }
}

fn change(cuts: &mut Cuts, raw: &RawValue) {
    let before = cuts.found;
    let change = Object::read(raw);
    let value = change.as_ref().and_then(|change| change.object("value"));
    let envelope = Envelope::read(change.as_ref(), value.as_ref());
    let unknown = |raw: &RawValue| Update::unknown(raw.get().as_bytes(), envelope.line());
    // `user_id_update` is a field of its own since 2026 and says what a `system` message says.
    for name in ["messages", "statuses", "user_id_update", "calls"] {
        for list in value.iter().flat_map(|value| value.all(name)) {
            match items(list) {
                Some(items) => items
                    .into_iter()
                    .for_each(|item| cuts.push(|| envelope.update(name, item))),
                None => cuts.push(|| unknown(list)),
            }
        }
    }
    if cuts.found == before {
        cuts.push(|| unknown(raw));
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
            "calls" => Kind::Call,
            "messages" if text("type").as_deref() != Some("system") => Kind::Message,
            _ => Kind::System,
        };
        let name = match list {
            "statuses" => "status",
            "calls" => "call",
            _ => "message",
        };
        let body = self.wrap(name, raw, item.as_ref());
        Update::of(kind, item.as_ref(), self.line(), body)
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
