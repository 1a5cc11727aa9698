//! A message to a person, of any type: what stands on the wire, and what it says in words.
//!
//! Made by `answer` and by whoever speaks for us, kept in the outbox, sent by `client`. Within the limits
//! of WhatsApp by the time it is made, for a message that is refused reaches nobody
//! (Meta docs: Cloud API, messages).

use std::fmt;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::media::Kind;

/// Stored as it is written here; a text only as its words.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Outgoing {
    /// At most `split::MAX_TEXT_CHARS`.
    Text {
        body: String,
    },
    File {
        kind: Kind,
        /// WhatsApp's, of what we gave it. Never an address, which Meta would fetch.
        id: String,
        caption: Option<String>,
        /// Of a document.
        name: Option<String>,
    },
    Place {
        latitude: f64,
        longitude: f64,
        name: Option<String>,
        address: Option<String>,
    },
    Contact {
        name: String,
        phones: Vec<String>,
        emails: Vec<String>,
    },
    Reaction {
        to: String,
        emoji: String,
    },
    Buttons {
        body: String,
        titles: Vec<String>,
    },
    List {
        body: String,
        rows: Vec<Row>,
    },
    Link {
        body: String,
        title: String,
        url: String,
    },
    /// Words that Meta has approved, by their name there, and without a place for any of ours: an agent may
    /// ask for one, and nothing that it wrote goes into it.
    Template {
        name: String,
        language: String,
    },
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub title: String,
    pub description: Option<String>,
}

/// What a list is opened with.
const OPEN_LIST: &str = "Choose";

impl Outgoing {
    pub fn text(body: impl Into<String>) -> Self {
        Self::Text { body: body.into() }
    }

    /// Our word for its type, in the outbox.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::File { .. } => "file",
            Self::Place { .. } => "place",
            Self::Contact { .. } => "contact",
            Self::Reaction { .. } => "reaction",
            Self::Buttons { .. } => "buttons",
            Self::List { .. } => "list",
            Self::Link { .. } => "link",
            Self::Template { .. } => "template",
        }
    }

    /// As it is stored.
    pub fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Text { body } => Ok(body.clone().into_bytes()),
            other => serde_json::to_vec(other).context("write down a message"),
        }
    }

    pub fn from_bytes(kind: &str, bytes: Vec<u8>) -> anyhow::Result<Self> {
        match kind {
            "text" => Ok(Self::text(
                String::from_utf8(bytes).context("read a message")?,
            )),
            _ => serde_json::from_slice(&bytes).context("read a message"),
        }
    }

    /// Meta's word for its type, and what stands below it.
    pub(super) fn wire(&self) -> (&'static str, Value) {
        match self {
            // No preview: Meta would fetch the first link, and its address may have been written by an
            // attacker to carry a secret out.
            Self::Text { body } => ("text", json!({ "body": body, "preview_url": false })),
            Self::File {
                kind,
                id,
                caption,
                name,
            } => of_file(*kind, id, caption.as_deref(), name.as_deref()),
            Self::Place {
                latitude,
                longitude,
                name,
                address,
            } => {
                let mut place = json!({ "latitude": latitude, "longitude": longitude });
                put(&mut place, "name", name.as_deref());
                put(&mut place, "address", address.as_deref());
                ("location", place)
            }
            Self::Contact {
                name,
                phones,
                emails,
            } => {
                let mut contact = json!({ "name": { "formatted_name": name, "first_name": name } });
                if !phones.is_empty() {
                    contact["phones"] = phones
                        .iter()
                        .map(|phone| json!({ "phone": phone }))
                        .collect();
                }
                if !emails.is_empty() {
                    contact["emails"] = emails
                        .iter()
                        .map(|email| json!({ "email": email }))
                        .collect();
                }
                ("contacts", json!([contact]))
            }
            Self::Reaction { to, emoji } => {
                ("reaction", json!({ "message_id": to, "emoji": emoji }))
            }
            Self::Buttons { body, titles } => {
                let buttons = titles.iter().enumerate().map(|(at, title)| {
                    json!({ "type": "reply", "reply": { "id": at.to_string(), "title": title } })
                });
                let buttons: Value = buttons.collect();
                interactive("button", body, json!({ "buttons": buttons }))
            }
            Self::List { body, rows } => {
                let rows = rows.iter().enumerate().map(|(at, row)| {
                    let mut wire = json!({ "id": at.to_string(), "title": row.title });
                    put(&mut wire, "description", row.description.as_deref());
                    wire
                });
                let rows: Value = rows.collect();
                let action = json!({ "button": OPEN_LIST, "sections": [{ "rows": rows }] });
                interactive("list", body, action)
            }
            Self::Link { body, title, url } => {
                let parameters = json!({ "display_text": title, "url": url });
                let action = json!({ "name": "cta_url", "parameters": parameters });
                interactive("cta_url", body, action)
            }
            Self::Template { name, language } => {
                let template = json!({ "name": name, "language": { "code": language } });
                ("template", template)
            }
        }
    }

    /// What it says, where only words can be shown.
    pub fn told(&self) -> String {
        match self {
            Self::Text { body } => body.clone(),
            Self::File {
                kind,
                caption,
                name,
                ..
            } => {
                let name = name.iter().map(|name| format!(" {name}"));
                let caption = caption.iter().map(|caption| format!("\n{caption}"));
                let around: String = name.chain(caption).collect();
                format!("[Sent a {}]{around}", kind.as_str())
            }
            Self::Place {
                latitude,
                longitude,
                name,
                ..
            } => {
                let name = name.as_deref().unwrap_or_default();
                format!("[Sent a place] {latitude}, {longitude} {name}")
                    .trim_end()
                    .to_owned()
            }
            Self::Contact { name, .. } => format!("[Sent a contact] {name}"),
            Self::Reaction { emoji, .. } => format!("[Reacted] {emoji}"),
            Self::Buttons { body, titles } => format!("{body}\n[Buttons] {}", titles.join(" | ")),
            Self::List { body, rows } => {
                let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
                format!("{body}\n[List] {}", titles.join(" | "))
            }
            Self::Link { body, title, url } => format!("{body}\n[Link] {title} {url}"),
            Self::Template { name, .. } => format!("[Sent the template {name}]"),
        }
    }
}

fn of_file(
    kind: Kind,
    id: &str,
    caption: Option<&str>,
    name: Option<&str>,
) -> (&'static str, Value) {
    let mut file = json!({ "id": id });
    let wire = match kind {
        Kind::Image => "image",
        Kind::Video => "video",
        Kind::Document => "document",
        Kind::Sticker => "sticker",
        Kind::Audio => "audio",
        Kind::Voice => {
            file["voice"] = json!(true);
            "audio"
        }
    };
    // The others have none.
    if matches!(kind, Kind::Image | Kind::Video | Kind::Document) {
        put(&mut file, "caption", caption);
    }
    if kind == Kind::Document {
        put(&mut file, "filename", name);
    }
    (wire, file)
}

fn interactive(kind: &str, body: &str, action: Value) -> (&'static str, Value) {
    let interactive = json!({ "type": kind, "body": { "text": body }, "action": action });
    ("interactive", interactive)
}

fn put(object: &mut Value, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        object[key] = json!(value);
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({})", self.kind())
    }
}
