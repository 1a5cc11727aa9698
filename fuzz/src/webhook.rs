//! Any bytes as a webhook of either provider's: cut, read and told without a panic, with keys that do not
//! change and bodies that do not grow.
//!
//! An input is a body as it comes, so a webhook that somebody reports goes into the corpus as it is.

use clawkaka::{
    line::group,
    whatsapp::{
        content::{Content, Forwarded},
        event::{self, InboundEvent, Message},
        media::FOLDER,
        provider::Provider,
        told::{self, Quoted},
        update::{MAX_UPDATES, Update},
    },
};

/// What the header of Kapso's may name; of others it makes nothing.
const EVENTS: [Option<&str>; 8] = [
    None,
    Some("whatsapp.message.received"),
    Some("whatsapp.message.sent"),
    Some("whatsapp.message.delivered"),
    Some("whatsapp.message.read"),
    Some("whatsapp.message.failed"),
    Some("whatsapp.conversation.created"),
    Some(""),
];
/// What an update takes along beside its own bytes: six slices of 4 KB and the keys around them.
const MAX_ENVELOPE_BYTES: usize = 25 << 10;
/// An index row in Postgres takes some 2,700 bytes.
const MAX_KEY_BYTES: usize = 600;

pub fn hold(body: &[u8]) {
    cut(Provider::Meta, None, body);
    for event in EVENTS {
        cut(Provider::Kapso, event, body);
    }
}

fn cut(provider: Provider, event: Option<&str>, body: &[u8]) {
    let updates = provider.cut(event, body);
    let count = updates.len();
    assert!((1..=MAX_UPDATES + 1).contains(&count), "{count} updates");
    let key = |update: &Update| (update.kind.as_str(), update.provider_id.clone());
    let again = provider.cut(event, body);
    assert!(
        updates.iter().map(key).eq(again.iter().map(key)),
        "the same body has other keys"
    );
    for update in &updates {
        let id = &update.provider_id;
        let is_usable = (1..=MAX_KEY_BYTES).contains(&id.len()) && !id.contains('\0');
        assert!(is_usable, "a key that Postgres does not take");
        let grown = update.body.len().saturating_sub(body.len());
        assert!(grown <= MAX_ENVELOPE_BYTES, "{grown} bytes more than came");
        for kind in ["message", "status", "system", "unknown"] {
            if let InboundEvent::Message(message) = event::parse(kind, &update.body) {
                tell(&message);
                cut_off(kind, &update.body, &message);
            }
        }
    }
}

fn tell(message: &Message) {
    assert!(message.sender.recipient().is_some(), "nobody to answer");
    let quoted = Quoted {
        ours: true,
        text: "What was\n[said]".to_owned(),
    };
    for quoted in [None, Some(&quoted)] {
        let told = told::tell(message, quoted);
        assert!(!told.contains('\0'));
        only_ours_are_in_brackets(message, &told);
    }
}

/// A group's prefix, which is not for the agent: what is kept says the rest of it, or stays whole.
fn cut_off(kind: &str, body: &[u8], message: &Message) {
    let Some(words) = words(&message.content) else {
        return;
    };
    for prefix in [group::PREFIX, "i\u{307}"] {
        if let Some(said) = group::said_to_us(words, prefix) {
            assert!(words.trim_end().ends_with(said) && said.len() < words.len());
        }
    }
    let rest = "the rest";
    if let Some(body) = event::with_text(body, rest) {
        let InboundEvent::Message(kept) = event::parse(kind, &body) else {
            panic!("no message any more")
        };
        assert_eq!(self::words(&kept.content), Some(rest));
    }
}

fn words(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text),
        Content::Media(media) => media.caption.as_deref(),
        Content::Edit { now, .. } => words(now),
        _ => None,
    }
}

/// What somebody else may have written never begins a line by itself.
fn only_ours_are_in_brackets(message: &Message, told: &str) {
    let own_words = |content: &Content| matches!(content, Content::Text(_) | Content::Media(_));
    let has_own_words = match &message.content {
        Content::Edit { now, .. } => own_words(now),
        content => own_words(content),
    };
    let is_forwarded = message.around.forwarded != Forwarded::No;
    for line in told.split('\n') {
        let is_ours = line.is_empty() || (line.starts_with('[') && line.ends_with(']'));
        let is_quoted = is_forwarded && line.starts_with('>');
        assert!(is_ours || is_quoted || (has_own_words && !is_forwarded));
    }
    if let Content::Media(media) = &message.content {
        let path = media.path();
        let name = path
            .strip_prefix(FOLDER)
            .and_then(|path| path.strip_prefix('/'));
        let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        assert!(name.is_some_and(|name| is_plain(name) && !name.contains("..")));
    }
}
