//! Cuts an authentic body from Kapso into updates of the shape that `meta` cuts, without
//! understanding them.
//!
//! Called by `http/webhook` after the signature. Three shapes arrive: Meta's own body handed on; a
//! batch (`{"type", "batch": true, "data": […]}`); and one event, whose name is only in the header
//! `X-Webhook-Event`. Kapso delivers at least once, in any order, and a batch that failed comes again
//! one by one under new delivery keys: the message's own id is what tells a repeat
//! (Kapso docs: webhooks).
//!
//! Only what a person sent is a message. What the owner typed in the phone app (`business_app`) and
//! what is old (`history_sync`) is kept as `Unknown` and wakes nobody.
//!
//! `poll` lists the same messages. [`cut_listed`] makes of an item what the webhooks about it would
//! have been cut into, under the same keys.

use serde_json::{json, value::RawValue};

use super::{
    meta,
    poll::Direction,
    raw::{Object, items},
    update::{Cuts, Kind, MAX_SLICE_BYTES, Update, usable},
};

/// JSON's word for it.
const NOTHING: &str = "null";

const RECEIVED: &str = "whatsapp.message.received";
/// What became of a message of ours; Kapso has an event for each.
const STATES: [(&str, &str); 4] = [
    ("whatsapp.message.sent", "sent"),
    ("whatsapp.message.delivered", "delivered"),
    ("whatsapp.message.read", "read"),
    ("whatsapp.message.failed", "failed"),
];

/// `event` is the header's; a batch names its own.
pub fn cut(event: Option<&str>, body: &[u8]) -> Vec<Update> {
    let Some(top) = Object::parse(body) else {
        return meta::cut(body);
    };
    if top.get("entry").is_some() {
        return meta::cut(body);
    }
    let mut cuts = Cuts::default();
    let named = top.text("type").or_else(|| event.map(str::to_owned));
    if let Some(deliveries) = top.get("data").and_then(items) {
        for delivery in deliveries {
            one(&mut cuts, named.as_deref(), delivery);
        }
    } else if let Ok(whole) = serde_json::from_slice(body) {
        one(&mut cuts, event.or(named.as_deref()), whole);
    }
    cuts.finish(body)
}

fn one(cuts: &mut Cuts, event: Option<&str>, raw: &RawValue) {
    let delivery = Object::read(raw);
    let line = delivery.as_ref().and_then(line_of);
    let message = delivery.as_ref().and_then(|found| found.object("message"));
    let state = STATES.iter().find(|(name, _)| event == Some(*name));
    match (delivery, message, state) {
        (Some(delivery), Some(message), None) if event == Some(RECEIVED) && is_theirs(&message) => {
            cuts.push(|| about_a_person(&delivery, &message, line));
        }
        (Some(delivery), Some(message), Some((_, state))) => {
            for status in statuses(&message, Some(*state)) {
                cuts.push(|| of_a_status(&delivery, &status, line.clone()));
            }
        }
        _ => cuts.push(|| Update::unknown(raw.get().as_bytes(), line)),
    }
}

/// What webhooks would have brought of a listed message; nothing of one that wakes nobody. `None`
/// where it is not said who sent it or what it is called: a repeat could not be told then.
pub fn cut_listed(line: &str, asked: Direction, item: &RawValue) -> Option<Vec<Update>> {
    let message = Object::read(item)?;
    let kapso = message.object("kapso")?;
    message.text("id").filter(|id| usable(id))?;
    if kapso.text("direction")? != asked.as_str() {
        return Some(Vec::new());
    }
    let conversation = json!({
        "phone_number": kapso.text("phone_number"),
        "business_scoped_user_id": kapso.text("business_scoped_user_id"),
        "username": kapso.text("username"),
    });
    let delivery = format!(
        r#"{{"message":{},"conversation":{conversation}}}"#,
        item.get()
    );
    let delivery = Object::parse(delivery.as_bytes())?;
    let line = Some(line.to_owned());
    Some(match asked {
        Direction::Inbound if is_theirs(&message) => {
            vec![about_a_person(&delivery, &message, line)]
        }
        Direction::Inbound => Vec::new(),
        Direction::Outbound => {
            let told = kapso.text("status");
            let known = STATES.iter().map(|(_, state)| *state);
            let state = known
                .into_iter()
                .find(|state| told.as_deref() == Some(state));
            statuses(&message, state)
                .iter()
                .map(|status| of_a_status(&delivery, status, line.clone()))
                .collect()
        }
    })
}

/// Both in the delivery and in what it is about.
fn line_of(delivery: &Object<'_>) -> Option<String> {
    let kapso = || delivery.object("message")?.object("kapso");
    let conversation = || delivery.object("conversation")?.text("phone_number_id");
    let id = delivery.text("phone_number_id").or_else(conversation);
    let id = id.or_else(|| kapso()?.text("phone_number_id"));
    id.filter(|id| usable(id))
}

/// Sent by a person, now.
fn is_theirs(message: &Object<'_>) -> bool {
    let kapso = message.object("kapso");
    let says = |key| kapso.as_ref().and_then(|kapso| kapso.text(key));
    let outbound = says("direction").is_some_and(|direction| direction != "inbound");
    let elsewhere = says("origin").is_some_and(|origin| origin != "cloud_api");
    !outbound && !elsewhere
}

/// A message in the shape of Meta's, from a person or, of type `system`, about one. Where it lacks its
/// sender, the conversation names them.
fn about_a_person(delivery: &Object<'_>, message: &Object<'_>, line: Option<String>) -> Update {
    let kind = match message.text("type").as_deref() {
        Some("system") => Kind::System,
        _ => Kind::Message,
    };
    let raw = delivery.get("message").map_or("null", RawValue::get);
    let body = wrap(delivery, line.as_deref(), "message", raw);
    Update::of(kind, Some(message), line, body)
}

fn of_a_status(delivery: &Object<'_>, status: &str, line: Option<String>) -> Update {
    let item = Object::parse(status.as_bytes());
    let body = wrap(delivery, line.as_deref(), "status", status);
    Update::of(Kind::Status, item.as_ref(), line, body)
}

/// All that Kapso knows to have become of a message: the newest stands last, and an event may be
/// the first that we hear of several. `state` is what it says by itself.
fn statuses(message: &Object<'_>, state: Option<&str>) -> Vec<String> {
    let known = message
        .object("kapso")
        .and_then(|kapso| items(kapso.get("statuses")?));
    let mut statuses: Vec<_> = known
        .unwrap_or_default()
        .into_iter()
        .map(|status| status.get().to_owned())
        .collect();
    let is_told = |status: &String| {
        let status = Object::parse(status.as_bytes()).and_then(|status| status.text("status"));
        status.as_deref() == state
    };
    if state.is_some() && !statuses.iter().any(is_told) {
        let told = json!({
            "id": message.text("id"),
            "status": state,
            "timestamp": message.text("timestamp"),
            "biz_opaque_callback_data": message.text("biz_opaque_callback_data"),
        });
        statuses.push(told.to_string());
    }
    statuses
}

/// In the envelope in which `meta` puts its own: line, contact and the bytes that came. A delivery may tell
/// of many statuses, and what is huge in its contact is not copied to each.
fn wrap(delivery: &Object<'_>, line: Option<&str>, name: &str, raw: &str) -> Vec<u8> {
    let conversation = delivery.object("conversation");
    let conversation = conversation.as_ref();
    let message = delivery.object("message");
    // A conversation may be a group's, and be called by its name.
    let name_of_them = named(message.as_ref()).or_else(|| named(conversation));
    let contact = format!(
        r#"{{"profile":{{"name":{},"username":{}}},"wa_id":{},"user_id":{}}}"#,
        name_of_them.unwrap_or(NOTHING),
        slice(conversation, "username").unwrap_or(NOTHING),
        slice(conversation, "phone_number").unwrap_or(NOTHING),
        slice(conversation, "business_scoped_user_id").unwrap_or(NOTHING),
    );
    let metadata = json!({ "phone_number_id": line });
    format!(r#"{{"field":"messages","metadata":{metadata},"contacts":[{contact}],"{name}":{raw}}}"#)
        .into_bytes()
}

fn slice<'a>(of: Option<&Object<'a>>, key: &str) -> Option<&'a str> {
    let found = of?.get(key).map(RawValue::get);
    found.filter(|raw| raw.len() <= MAX_SLICE_BYTES)
}

fn named<'a>(of: Option<&Object<'a>>) -> Option<&'a str> {
    slice(of?.object("kapso").as_ref(), "contact_name")
}
