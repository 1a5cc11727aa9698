//! What an update means: the bytes that `meta` cut, turned into our own words.
//!
//! Called by `worker/route`. Total: whatever came gives an event, at worst `Unknown`.
//! Wire names of WhatsApp stay in this file and in `meta`. No type here prints a text, a name, an
//! address or a whole message id; the tests prove it.
//!
//! People are known by their business-scoped user id since April 2026; `from` and `wa_id` may be
//! absent or, in older drafts, empty (Meta docs: business-scoped user IDs).

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use super::content::{Around, Content};
use super::raw::Object;
use super::update::moment;
use super::{content, rekey, short_id};

/// Longer names are cut: WhatsApp's own limit is 25, a business's 256.
const MAX_NAME_CHARS: usize = 100;
/// Two letters, a dot, perhaps `ENT.`, and at most 128 characters; with room to grow.
const MAX_ADDRESS_BYTES: usize = 256;
/// E.164 allows 15 digits; a few numbers in use have more.
const MAX_PHONE_DIGITS: usize = 20;
/// How a group is called by the phones in it; numbers that Kapso connects through one may say no more of it
/// than this in place of a phone.
const OF_A_GROUP: &str = "@g.us";

#[derive(Debug, PartialEq)]
pub enum InboundEvent {
    Message(Message),
    Status(Status),
    Rekey(Rekey),
    Call(Call),
    /// Not for us, or not understood: kept and counted, never answered.
    Unknown,
}

/// A person as WhatsApp names them. At least one of the first two is set in every event.
#[derive(Clone, Default, PartialEq)]
pub struct Sender {
    /// Business-scoped user id, verbatim: opaque and case-sensitive.
    pub user_id: Option<String>,
    /// Digits only.
    pub phone: Option<String>,
    /// The group it was written in.
    pub group: Option<String>,
}

#[derive(PartialEq)]
pub struct Message {
    /// The `wamid`: opaque. See [`short_id`] before logging one.
    pub id: String,
    pub sender: Sender,
    pub name: Option<String>,
    pub at: Option<DateTime<Utc>>,
    pub content: Content,
    pub around: Around,
}

#[derive(PartialEq)]
pub struct Status {
    pub wamid: String,
    pub state: Delivery,
    pub at: Option<DateTime<Utc>>,
    /// What we gave the send as `biz_opaque_callback_data`.
    pub callback: Option<String>,
    pub error: Option<ApiError>,
    pub recipient: Sender,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    Delivered,
    Read,
    /// A voice message was listened to.
    Played,
    Failed,
}

/// Why a delivery failed. The words are Meta's and may quote what we sent, so they are not printed.
#[derive(PartialEq)]
pub struct ApiError {
    pub code: i64,
    pub title: Option<String>,
    pub details: Option<String>,
}

/// One person under a new address. Either side may name a user id, a phone or both.
#[derive(Debug, PartialEq)]
pub struct Rekey {
    pub old: Sender,
    pub new: Sender,
}

/// A person rings the number. Nobody of ours answers, but it opens WhatsApp's 24 hours as a message does (Meta
/// docs: calling, user-initiated calls).
#[derive(Debug, PartialEq)]
pub struct Call {
    pub from: Sender,
    pub at: Option<DateTime<Utc>>,
}

impl Sender {
    /// Who wrote it, by themselves: a group's member.
    pub fn member(&self) -> Self {
        Self {
            group: None,
            ..self.clone()
        }
    }
}

impl Message {
    /// The earlier message that this one is about or answers, by its id.
    pub fn refers_to(&self) -> Option<&str> {
        let answers = self.around.quotes.as_deref();
        self.content.refers_to().or(answers)
    }
}

impl Delivery {
    /// Receipts come in any order and may be left out: the highest rank is the truth. `Failed`
    /// gives way to a later `Delivered`, for one of several devices may refuse what another takes.
    pub fn rank(self) -> i16 {
        match self {
            Self::Sent => 1,
            Self::Failed => 2,
            Self::Delivered => 3,
            Self::Read => 4,
            Self::Played => 5,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
        }
    }

    fn from_wire(state: &str) -> Option<Self> {
        let all = [
            Self::Sent,
            Self::Failed,
            Self::Delivered,
            Self::Read,
            Self::Played,
        ];
        all.into_iter().find(|delivery| delivery.as_str() == state)
    }
}

/// `kind` and `body` as the provider's `cut` made them.
pub fn parse(kind: &str, body: &[u8]) -> InboundEvent {
    read(kind, body).unwrap_or(InboundEvent::Unknown)
}

/// The body of a message with other words in it, be they a text, a caption, or what one of these was changed
/// into. `None` when it cannot be written anew.
pub fn with_text(body: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let mut message = body.get_mut("message")?;
    if message.get("type")? == "edit" {
        message = message.pointer_mut("/edit/message")?;
    }
    let words = match message.get("type")?.as_str()? {
        "text" => "/text/body".to_owned(),
        kind => format!("/{kind}/caption"),
    };
    *message.pointer_mut(&words)? = text.into();
    serde_json::to_vec(&body).ok()
}

fn read(kind: &str, body: &[u8]) -> Option<InboundEvent> {
    let envelope = Object::parse(body)?;
    let field = envelope.text("field");
    // `calls` has statuses too, and other fields may get messages: those are not written to us.
    let ours = |name| field.as_deref().is_none_or(|field| field == name);
    match kind {
        "message" if ours("messages") => message(&envelope).map(InboundEvent::Message),
        "status" if ours("messages") => status(&envelope).map(InboundEvent::Status),
        "call" if ours("calls") => call(&envelope).map(InboundEvent::Call),
        "system" => {
            let item = envelope.object("message")?;
            let field_is_update = field.as_deref() == Some("user_id_update");
            rekey::read(&item, field_is_update).map(InboundEvent::Rekey)
        }
        _ => None,
    }
}

fn message(envelope: &Object<'_>) -> Option<Message> {
    let item = envelope.object("message")?;
    let contact = envelope.first("contacts");
    let told = |key| contact.as_ref().and_then(|contact| contact.text(key));
    let group = told("wa_id").filter(|id| id.ends_with(OF_A_GROUP));
    // Then the contact is the group, and says nothing of who wrote there.
    let told = |key| told(key).filter(|_| group.is_none());
    let sender = Sender {
        user_id: item
            .text("from_user_id")
            .and_then(address)
            .or_else(|| told("user_id").and_then(address)),
        phone: item
            .text("from")
            .and_then(digits)
            .or_else(|| told("wa_id").and_then(digits)),
        group: item
            .text("group_id")
            .or_else(|| group.clone())
            .and_then(address),
    };
    let profile = contact
        .as_ref()
        .and_then(|contact| contact.object("profile"));
    let known = sender.user_id.is_some() || sender.phone.is_some();
    known.then_some(Message {
        id: item.text("id").and_then(id)?,
        sender,
        name: profile
            .and_then(|profile| profile.text("name"))
            .and_then(name),
        at: item.integer("timestamp").and_then(moment),
        content: content::read(&item),
        around: content::around(&item),
    })
}

/// `None` for what is not its beginning, or not from a person.
fn call(envelope: &Object<'_>) -> Option<Call> {
    let item = envelope.object("call")?;
    let contact = envelope.first("contacts");
    let told = |key| contact.as_ref().and_then(|contact| contact.text(key));
    let begins = item.text("event").as_deref() == Some("connect");
    let is_ours = item.text("direction").as_deref() == Some("BUSINESS_INITIATED");
    let from = Sender {
        user_id: item
            .text("from_user_id")
            .or_else(|| told("user_id"))
            .and_then(address),
        phone: item.text("from").or_else(|| told("wa_id")).and_then(digits),
        group: None,
    };
    let known = from.user_id.is_some() || from.phone.is_some();
    (begins && !is_ours && known).then(|| Call {
        from,
        at: item.integer("timestamp").and_then(moment),
    })
}

fn status(envelope: &Object<'_>) -> Option<Status> {
    let item = envelope.object("status")?;
    let error = item.first("errors").and_then(|error| {
        let details = error
            .object("error_data")
            .and_then(|data| data.text("details"));
        Some(ApiError {
            code: error.integer("code")?,
            title: error.text("title"),
            details,
        })
    });
    let group = item
        .text("recipient_type")
        .is_some_and(|kind| kind == "group");
    let recipient = item.text("recipient_id");
    Some(Status {
        wamid: item.text("id").and_then(id)?,
        state: Delivery::from_wire(&item.text("status")?)?,
        at: item.integer("timestamp").and_then(moment),
        callback: item.text("biz_opaque_callback_data").and_then(id),
        error,
        recipient: Sender {
            user_id: item.text("recipient_user_id").and_then(address),
            phone: recipient.clone().filter(|_| !group).and_then(digits),
            group: recipient.filter(|_| group).and_then(address),
        },
    })
}

/// `+1 (650) 555-1234` and `16505551234` are one phone; anything with letters is none.
pub fn digits(phone: String) -> Option<String> {
    let spelling = |c: char| c.is_ascii_digit() || " +-().".contains(c);
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let plausible = phone.chars().all(spelling) && (5..=MAX_PHONE_DIGITS).contains(&digits.len());
    plausible.then_some(digits)
}

pub(super) fn address(value: String) -> Option<String> {
    let clean = !value.chars().any(|c| c.is_control() || c.is_whitespace());
    (clean && (1..=MAX_ADDRESS_BYTES).contains(&value.len())).then_some(value)
}

pub(super) fn id(value: String) -> Option<String> {
    (!value.is_empty() && !value.contains('\0')).then_some(value)
}

fn name(value: String) -> Option<String> {
    let clean: String = value
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME_CHARS)
        .collect();
    let trimmed = clean.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_set();
        list.entries(self.user_id.iter().map(|_| "user id"));
        list.entries(self.phone.iter().map(|_| "phone"));
        list.entries(self.group.iter().map(|_| "group")).finish()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Message");
        fields
            .field("id", &short_id(&self.id))
            .field("sender", &self.sender);
        fields
            .field("at", &self.at)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Status");
        fields
            .field("wamid", &short_id(&self.wamid))
            .field("state", &self.state);
        fields
            .field("at", &self.at)
            .field("callback", &self.callback);
        fields
            .field("error", &self.error)
            .field("recipient", &self.recipient)
            .finish()
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiError({})", self.code)
    }
}
