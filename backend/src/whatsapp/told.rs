//! A message as the person's assistant reads it: their own words as they are, and everything else
//! in square brackets, a line each.
//!
//! Called by `worker/exchange`. What other people wrote, a forwarded text or a contact card, may be
//! written to look like one of our lines; so it is quoted, and a quotation never breaks its line.

use std::fmt::Write as _;

use super::content::{Ad, Card, Content, Forwarded, Item, Order, Place};
use super::event::Message;
use super::media::Media;

/// Of a message that is referred to. It reminds the assistant; the whole is in its conversation.
const MAX_QUOTED_CHARS: usize = 300;
/// Of one value in brackets: a vCard with a picture is long.
const MAX_VALUE_CHARS: usize = 2_000;

/// An earlier message that this one refers to, as far as we still have it.
pub struct Quoted {
    /// The assistant wrote it, or we for it; else the person.
    pub ours: bool,
    pub text: String,
}

/// The message in full, as many lines as it takes.
pub fn tell(message: &Message, quoted: Option<&Quoted>) -> String {
    let around = &message.around;
    let mut told = String::new();
    if let Some(ad) = &around.ad {
        line(&mut told, &of_ad(ad));
    }
    if let Some(product) = &around.product {
        line(&mut told, &format!("About the product {}", quote(product)));
    }
    if around.quotes.is_some() && message.content.refers_to().is_none() {
        line(&mut told, &format!("In reply to {}", which(quoted)));
    }
    match around.forwarded {
        Forwarded::No => {}
        Forwarded::Once => line(&mut told, "Forwarded, not their own words"),
        Forwarded::Often => line(&mut told, "Forwarded many times, not their own words"),
    }
    content(&mut told, &message.content, around.forwarded, quoted);
    told.trim_end().to_owned()
}

fn content(told: &mut String, content: &Content, forwarded: Forwarded, quoted: Option<&Quoted>) {
    match content {
        Content::Text(text) => own_or_quoted(told, text, forwarded),
        Content::Place(place) => line(told, &of_place(place)),
        Content::Cards(cards) => cards.iter().for_each(|card| line(told, &of_card(card))),
        Content::Choice { title, description } => {
            let described = description
                .as_ref()
                .map(|description| format!(" ({})", quote(description)));
            let choice = format!("Chose {}{}", quote(title), described.unwrap_or_default());
            line(told, &choice);
        }
        Content::Form(answers) => line(told, &format!("Filled in a form: {}", quote(answers))),
        Content::Reaction { emoji, .. } => {
            let what = match emoji {
                Some(emoji) => format!("Reacted with {} to {}", quote(emoji), which(quoted)),
                None => format!("Took back the reaction to {}", which(quoted)),
            };
            line(told, &what);
        }
        Content::Order(order) => line(told, &of_order(order)),
        Content::Edit { now, .. } => {
            line(told, &format!("Changed {}. It reads now:", which(quoted)));
            self::content(told, now, forwarded, quoted);
        }
        Content::Deletion { .. } => line(told, &format!("Deleted {}", which(quoted))),
        Content::Media(media) => {
            line(told, &of_media(media));
            if let Some(caption) = &media.caption {
                own_or_quoted(told, caption, forwarded);
            }
        }
        Content::Opened => line(told, "Opened the chat for the first time"),
        Content::Other(_) | Content::Empty => {}
    }
}

fn own_or_quoted(told: &mut String, text: &str, forwarded: Forwarded) {
    if forwarded == Forwarded::No {
        told.push_str(text);
        return;
    }
    for text in text.lines() {
        let _ = writeln!(told, "> {text}");
    }
}

/// Where it lies, and under which name it came.
fn of_media(media: &Media) -> String {
    let mut what = media.kind.as_str().to_owned();
    what[..1].make_ascii_uppercase();
    if let Some(name) = &media.name {
        let _ = write!(what, " {}", quote(name));
    }
    format!("{what}: {}", media.path())
}

/// Somebody else's words on one line, in quotation marks.
fn quote(words: &str) -> String {
    let words: String = words.chars().take(MAX_VALUE_CHARS).collect();
    serde_json::Value::from(words).to_string()
}

fn which(quoted: Option<&Quoted>) -> String {
    let Some(quoted) = quoted else {
        return "an earlier message".to_owned();
    };
    let mut text: String = quoted.text.chars().take(MAX_QUOTED_CHARS).collect();
    if text.len() < quoted.text.len() {
        text.push('…');
    }
    let who = if quoted.ours { "you" } else { "they" };
    format!("what {who} wrote: {}", quote(&text))
}

fn of_ad(ad: &Ad) -> String {
    let parts = [&ad.headline, &ad.body, &ad.url];
    let parts: Vec<_> = parts
        .into_iter()
        .flatten()
        .map(|part| quote(part))
        .collect();
    match parts.is_empty() {
        true => "Came from an advertisement".to_owned(),
        false => format!("Came from an advertisement: {}", parts.join(", ")),
    }
}

fn of_place(place: &Place) -> String {
    let named = [&place.name, &place.address];
    let named = named.into_iter().flatten().map(|name| quote(name));
    let mut parts: Vec<_> = named.collect();
    parts.push(format!("{}, {}", place.latitude, place.longitude));
    format!("Place: {}", parts.join(", "))
}

fn of_card(card: &Card) -> String {
    let name = card.name.iter().map(|name| quote(name));
    let details = card
        .details
        .iter()
        .map(|(label, value)| format!("{label} {}", quote(value)));
    let parts: Vec<_> = name.chain(details).collect();
    format!("Contact card: {}", parts.join(", "))
}

fn of_order(order: &Order) -> String {
    let items = order.items.iter().map(of_item);
    let note = order
        .note
        .iter()
        .map(|note| format!("note {}", quote(note)));
    let parts: Vec<_> = items.chain(note).collect();
    format!("Order: {}", parts.join(", "))
}

fn of_item(item: &Item) -> String {
    let price = item
        .price
        .iter()
        .map(|price| format!(" at {}", quote(price)));
    let price: String = price.collect();
    format!(
        "{} x {}{price}",
        quote(&item.quantity),
        quote(&item.product)
    )
}

fn line(told: &mut String, words: &str) {
    let _ = writeln!(told, "[{words}]");
}
