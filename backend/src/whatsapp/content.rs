//! What a message says, whatever its type: read from the wire into our own words.
//!
//! Part of `event`, which calls it. Total and without trust: a name, a note or a number is what
//! somebody typed. A type that is new, or one of ours without its body, is [`Content::Other`].
//! Wire names are Meta's (Meta docs: webhooks, messages reference).

use std::fmt;

use super::{
    media::{self, Media},
    raw::{Object, items},
};

/// A menu has ten rows and an order rarely more lines; more than that is somebody's joke.
const MAX_ITEMS: usize = 50;

#[derive(PartialEq)]
pub enum Content {
    /// Without NUL: it cannot be stored in Postgres' text or JSON and has no place in a message.
    Text(String),
    Place(Place),
    Cards(Vec<Card>),
    /// A tap on a button, or on a row of a list.
    Choice {
        title: String,
        description: Option<String>,
    },
    /// A form (WhatsApp: flow) that was filled in: the answers as JSON.
    Form(String),
    /// `emoji` is `None` when the person took it back.
    Reaction {
        to: String,
        emoji: Option<String>,
    },
    Order(Order),
    /// The person wrote another message differently.
    Edit {
        of: Option<String>,
        now: Box<Content>,
    },
    /// The person took a message back.
    Deletion {
        of: String,
    },
    Media(Box<Media>),
    /// The chat was opened for the first time, and nothing written yet.
    Opened,
    /// Our word for what it was, to be put into one polite sentence.
    Other(&'static str),
    /// A text of nothing but white space.
    Empty,
}

#[derive(PartialEq)]
pub struct Place {
    /// As they were written, and numbers.
    pub latitude: String,
    pub longitude: String,
    /// Both only for a place that has them.
    pub name: Option<String>,
    pub address: Option<String>,
}

/// Somebody's contact card.
#[derive(PartialEq)]
pub struct Card {
    pub name: Option<String>,
    /// `("phone", "+1 650 …")` and so on, in the order of the card.
    pub details: Vec<(&'static str, String)>,
}

#[derive(PartialEq)]
pub struct Order {
    pub note: Option<String>,
    pub items: Vec<Item>,
}

#[derive(PartialEq)]
pub struct Item {
    pub product: String,
    pub quantity: String,
    /// For one of it, with its currency.
    pub price: Option<String>,
}

/// What came with a message beside what it says.
#[derive(Default, PartialEq)]
pub struct Around {
    /// The message it answers, by its id; we need not have it.
    pub quotes: Option<String>,
    /// The product it asks about.
    pub product: Option<String>,
    pub forwarded: Forwarded,
    /// The advertisement they came from.
    pub ad: Option<Ad>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    #[default]
    No,
    Once,
    /// More than five times: WhatsApp marks it with two arrows.
    Often,
}

#[derive(PartialEq)]
pub struct Ad {
    pub headline: Option<String>,
    pub body: Option<String>,
    pub url: Option<String>,
}

/// What a `messages[]` item says.
pub(super) fn read(item: &Object<'_>) -> Content {
    let kind = item.text("type").unwrap_or_default();
    known(item, &kind).unwrap_or_else(|| Content::Other(name(item, &kind)))
}

/// What came with it.
pub(super) fn around(item: &Object<'_>) -> Around {
    let context = item.object("context");
    let context = context.as_ref();
    let is = |key| context.is_some_and(|context| is_true(context, key));
    let product = context.and_then(|context| context.object("referred_product"));
    let ad = item.object("referral").map(|ad| Ad {
        headline: line(&ad, "headline"),
        body: line(&ad, "body"),
        url: line(&ad, "source_url"),
    });
    Around {
        quotes: context.and_then(|context| id(context, "id")),
        product: product.and_then(|product| line(&product, "product_retailer_id")),
        forwarded: match (is("frequently_forwarded"), is("forwarded")) {
            (true, _) => Forwarded::Often,
            (_, true) => Forwarded::Once,
            _ => Forwarded::No,
        },
        ad,
    }
}

/// `None` for a type that we do not read, or one that lacks what it is about.
fn known(item: &Object<'_>, kind: &str) -> Option<Content> {
    match kind {
        "" if item.get("text").is_some() => Some(text(item)),
        "text" => Some(text(item)),
        "image" | "sticker" | "video" | "audio" | "document" => {
            media::read(item, kind).map(|media| Content::Media(Box::new(media)))
        }
        "location" => place(&item.object("location")?),
        "contacts" => cards(item),
        "button" => choice(&item.object("button")?, "text"),
        "interactive" => interactive(&item.object("interactive")?),
        "reaction" => {
            let reaction = item.object("reaction")?;
            Some(Content::Reaction {
                to: id(&reaction, "message_id")?,
                // Taken back: empty, or not there at all.
                emoji: line(&reaction, "emoji"),
            })
        }
        "order" => order(&item.object("order")?),
        "edit" => edit(&item.object("edit")?),
        "revoke" => Some(Content::Deletion {
            of: id(&item.object("revoke")?, "original_message_id")?,
        }),
        "request_welcome" => Some(Content::Opened),
        _ => None,
    }
}

fn text(item: &Object<'_>) -> Content {
    let body = item.object("text").and_then(|text| text.text("body"));
    let body = body.unwrap_or_default().replace('\0', "");
    match body.trim().is_empty() {
        true => Content::Empty,
        false => Content::Text(body),
    }
}

fn place(location: &Object<'_>) -> Option<Content> {
    let number = |key| {
        let text = location.text(key)?;
        let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
        is_number.then_some(text)
    };
    Some(Content::Place(Place {
        latitude: number("latitude")?,
        longitude: number("longitude")?,
        name: line(location, "name"),
        address: line(location, "address"),
    }))
}

fn cards(item: &Object<'_>) -> Option<Content> {
    let cards: Vec<_> = items(item.get("contacts")?)?
        .into_iter()
        .take(MAX_ITEMS)
        .filter_map(Object::read)
        .map(|contact| card(&contact))
        .filter(|card| card.name.is_some() || !card.details.is_empty())
        .collect();
    (!cards.is_empty()).then_some(Content::Cards(cards))
}

fn card(contact: &Object<'_>) -> Card {
    let name = contact.object("name");
    let of_name = |key| name.as_ref().and_then(|name| line(name, key));
    let mut details = Vec::new();
    // A card that WhatsApp did not take apart is a vCard.
    for (list, key, label) in [
        ("phones", "phone", "phone"),
        ("emails", "email", "email"),
        ("urls", "url", "address on the web"),
    ] {
        for entry in each(contact, list) {
            details.extend(line(&entry, key).map(|value| (label, value)));
        }
    }
    for address in each(contact, "addresses") {
        let parts = ["street", "city", "state", "zip", "country"];
        let parts: Vec<_> = parts.iter().filter_map(|key| line(&address, key)).collect();
        if !parts.is_empty() {
            details.push(("address", parts.join(", ")));
        }
    }
    if let Some(org) = contact.object("org") {
        let parts = ["title", "department", "company"];
        let parts: Vec<_> = parts.iter().filter_map(|key| line(&org, key)).collect();
        if !parts.is_empty() {
            details.push(("works as", parts.join(", ")));
        }
    }
    details.extend(line(contact, "birthday").map(|day| ("birthday", day)));
    details.extend(line(contact, "vcard").map(|card| ("vCard", card)));
    details.truncate(MAX_ITEMS);
    Card {
        name: of_name("formatted_name").or_else(|| of_name("first_name")),
        details,
    }
}

fn interactive(interactive: &Object<'_>) -> Option<Content> {
    match interactive.text("type")?.as_str() {
        kind @ ("button_reply" | "list_reply") => choice(&interactive.object(kind)?, "title"),
        "nfm_reply" => {
            let answers = interactive.object("nfm_reply")?.text("response_json")?;
            Some(Content::Form(answers))
        }
        "call_permission_reply" => {
            let reply = interactive.object("call_permission_reply")?;
            choice(&reply, "response")
        }
        _ => None,
    }
}

fn choice(reply: &Object<'_>, title: &str) -> Option<Content> {
    Some(Content::Choice {
        // A tap whose words are missing still has the payload that we gave it.
        title: [title, "payload", "id"]
            .iter()
            .find_map(|key| line(reply, key))?,
        description: line(reply, "description"),
    })
}

fn order(order: &Object<'_>) -> Option<Content> {
    let items: Vec<_> = each(order, "product_items")
        .take(MAX_ITEMS)
        .filter_map(|item| {
            let currency = line(&item, "currency").unwrap_or_default();
            let price = line(&item, "item_price");
            Some(Item {
                product: line(&item, "product_retailer_id")?,
                quantity: line(&item, "quantity").unwrap_or_else(|| "1".to_owned()),
                price: price.map(|price| format!("{price} {currency}").trim().to_owned()),
            })
        })
        .collect();
    let note = line(order, "text");
    let says_something = note.is_some() || !items.is_empty();
    says_something.then_some(Content::Order(Order { note, items }))
}

/// The new wording stands inside as a message of its own. Never an edit of an edit.
fn edit(edit: &Object<'_>) -> Option<Content> {
    let message = edit.object("message")?;
    let kind = message.text("type").unwrap_or_default();
    let now = match kind.as_str() {
        "edit" | "revoke" | "reaction" => return None,
        _ => known(&message, &kind)?,
    };
    Some(Content::Edit {
        of: id(edit, "original_message_id"),
        now: Box::new(now),
    })
}

/// Our word for what we do not read.
fn name(item: &Object<'_>, kind: &str) -> &'static str {
    let inside = |key| item.object(key);
    let unsupported = || inside("unsupported").and_then(|what| what.text("type"));
    match kind {
        "image" => "image",
        "video" => "video",
        "audio" if inside("audio").is_some_and(|audio| is_true(&audio, "voice")) => "voice",
        "audio" => "audio",
        "document" => "document",
        "sticker" => "sticker",
        "location" => "location",
        "contacts" => "contact card",
        "button" => "button",
        "reaction" => "reaction",
        "order" => "order",
        "edit" => "edit",
        "revoke" => "deletion",
        // `unsupported.type` says since November 2025 what a business cannot be shown.
        "unsupported" => match unsupported().as_deref() {
            Some("edit") => "edit",
            Some("poll" | "poll_creation" | "poll_update") => "poll",
            _ => "unsupported",
        },
        _ => "unsupported",
    }
}

/// The objects of a list.
fn each<'a>(object: &Object<'a>, list: &str) -> impl Iterator<Item = Object<'a>> + use<'a> {
    let found = object.get(list).and_then(items).unwrap_or_default();
    found.into_iter().take(MAX_ITEMS).filter_map(Object::read)
}

/// A text that says something, without NUL.
pub(super) fn line(object: &Object<'_>, key: &str) -> Option<String> {
    let text = object.text(key)?.replace('\0', "");
    (!text.trim().is_empty()).then_some(text)
}

/// A message's id.
fn id(object: &Object<'_>, key: &str) -> Option<String> {
    object.text(key).and_then(super::event::id)
}

fn is_true(object: &Object<'_>, key: &str) -> bool {
    object.get(key).is_some_and(|value| value.get() == "true")
}

impl Content {
    /// The file that came with it, or with what it changed into.
    pub fn media(self) -> Option<Box<Media>> {
        match self {
            Self::Media(media) => Some(media),
            Self::Edit { now, .. } => now.media(),
            _ => None,
        }
    }

    /// The earlier message that this is about, by its id.
    pub fn refers_to(&self) -> Option<&str> {
        match self {
            Self::Reaction { to, .. } => Some(to),
            Self::Deletion { of } => Some(of),
            Self::Edit { of, .. } => of.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Place(_) => f.write_str("Place"),
            Self::Cards(cards) => write!(f, "Cards({})", cards.len()),
            Self::Choice { .. } => f.write_str("Choice"),
            Self::Form(answers) => write!(f, "Form({} bytes)", answers.len()),
            Self::Reaction { emoji, .. } => write!(f, "Reaction(taken back: {})", emoji.is_none()),
            Self::Order(order) => write!(f, "Order({})", order.items.len()),
            Self::Edit { now, .. } => write!(f, "Edit({now:?})"),
            Self::Deletion { .. } => f.write_str("Deletion"),
            Self::Media(media) => media.fmt(f),
            Self::Opened => f.write_str("Opened"),
            Self::Other(kind) => write!(f, "Other({kind})"),
            Self::Empty => f.write_str("Empty"),
        }
    }
}
