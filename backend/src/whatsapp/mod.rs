//! WhatsApp as we see it: what arrives, what we may send, and how it looks on a phone.
//!
//! In, by the `web` role: `signature` proves a body, `meta` or `kapso` cuts it into updates without
//! understanding them (`provider`, `update`). By the worker: `poll` asks Kapso for what no webhook
//! brought. Later, by the worker: `event` says what an update means, `content` what a message says,
//! `rekey` who is now known by another address; `told` is how an assistant reads it; `media` is a file that
//! somebody sent, and `fetch` brings it.
//! Out, by the worker: `answer` reads what an assistant asks to be sent, `format` turns its Markdown into
//! WhatsApp's marks, `split` cuts it to size, `sendable` says as what a file can go; `outgoing` is a
//! message of any type, `group` what a group can have of it, `client` sends it, `failure` says what to do when that went wrong.
//! `account` asks Meta what it knows of us, for the operator; `register` has Kapso post its webhooks to us.
//! `raw` reads strange JSON for the first two.
//!
//! Everything here is pure but `client`, `fetch`, `poll`, `account` and `register`. Nothing here knows
//! tenants, tables or policy, and nothing prints a text, a name or a phone number.

pub mod account;
pub mod answer;
pub mod block;
pub mod client;
pub mod content;
pub mod event;
pub mod failure;
pub mod fetch;
pub mod format;
mod group;
mod kapso;
pub mod media;
mod meta;
pub mod outgoing;
pub mod poll;
pub mod provider;
mod raw;
pub mod register;
mod rekey;
pub mod sendable;
pub mod signature;
pub mod split;
#[cfg(test)]
mod tests;
pub mod told;
pub mod update;

/// The part of a message id that may be logged and still finds it: its random end.
///
/// A `wamid` is base64 and begins with the person's phone number in clear, so a whole one in a log
/// is a phone number in a log.
pub fn short_id(wamid: &str) -> &str {
    let start = wamid.char_indices().rev().nth(11).map_or(0, |(at, _)| at);
    &wamid[start..]
}
