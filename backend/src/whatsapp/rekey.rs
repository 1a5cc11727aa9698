//! A person under a new address: the four ways in which WhatsApp says so.
//!
//! Part of `event`, which calls it. A wrong answer would hand one person's assistant to another, so
//! both sides must be named and nothing is guessed from what people can write themselves.

use super::event::{Rekey, Sender, address, digits};
use super::raw::Object;

/// `None` unless somebody known by an address is now known by another.
pub(super) fn read(item: &Object<'_>, field_is_update: bool) -> Option<Rekey> {
    let rekey = if field_is_update {
        updated_user_id(item)
    } else {
        changed_address(item)
    };
    let named = |sender: &Sender| sender.user_id.is_some() || sender.phone.is_some();
    rekey.filter(|rekey| named(&rekey.old) && named(&rekey.new) && rekey.old != rekey.new)
}

/// A `system` message. `from` is who it was; `system` says who it is now.
fn changed_address(item: &Object<'_>) -> Option<Rekey> {
    let system = item.object("system")?;
    let user_id = |key| system.text(key).and_then(address);
    let phone = |key| system.text(key).and_then(digits);
    let was = || item.text("from").and_then(digits);
    let was_id = || item.text("from_user_id").and_then(address);
    match system.text("type")?.as_str() {
        "user_changed_number" => Some(Rekey {
            old: person(user_id("previous_user_id").or_else(was_id), was()),
            new: person(user_id("user_id"), phone("wa_id")),
        }),
        "user_changed_user_id" => {
            let new = user_id("user_id");
            let old = user_id("previous_user_id").or_else(was_id);
            let old = old.or_else(|| told_in_body(&system, new.as_deref()));
            Some(Rekey {
                old: person(old, was()),
                new: person(new, phone("wa_id")),
            })
        }
        // Until 2025. `new_wa_id` up to API version 11, `wa_id` since.
        "customer_changed_number" => Some(Rekey {
            old: person(was_id(), phone("customer").or_else(was)),
            new: person(
                user_id("user_id"),
                phone("new_wa_id").or_else(|| phone("wa_id")),
            ),
        }),
        _ => None,
    }
}

/// Meta's sample has the old user id only in the sentence "User <name> changed from <old> to
/// <new>". People choose their names, so only the very end counts, and only if it names the new id
/// we have.
fn told_in_body(system: &Object<'_>, new: Option<&str>) -> Option<String> {
    let body = system.text("body")?;
    let mut words = body.split(' ').rev();
    let (last, to, old) = (words.next()?, words.next()?, words.next()?);
    let told = words.next() == Some("from") && to == "to" && Some(last) == new && old.contains('.');
    told.then(|| old.to_owned()).and_then(address)
}

/// An item of the field `user_id_update`: `{"user_id": {"previous", "current"}, "wa_id"?, …}`.
fn updated_user_id(item: &Object<'_>) -> Option<Rekey> {
    let ids = item.object("user_id")?;
    let phone = item.text("wa_id").and_then(digits);
    Some(Rekey {
        old: person(ids.text("previous").and_then(address), None),
        new: person(ids.text("current").and_then(address), phone),
    })
}

fn person(user_id: Option<String>, phone: Option<String>) -> Sender {
    Sender {
        user_id,
        phone,
        group: None,
    }
}
