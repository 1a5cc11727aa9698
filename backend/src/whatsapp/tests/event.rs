//! What updates mean, from webhook to event.

use chrono::DateTime;
use serde_json::json;

use super::meta::{MIXED, STATUSES, TEXT, body_of};
use crate::whatsapp::event::{Call, Content, Delivery, InboundEvent, Message, Sender, parse};
use crate::whatsapp::provider::Provider;

pub fn events(body: &str) -> Vec<InboundEvent> {
    Provider::Meta
        .cut(None, body.as_bytes())
        .iter()
        .map(|update| parse(update.kind.as_str(), &update.body))
        .collect()
}

fn one(message: &serde_json::Value) -> InboundEvent {
    events(&body_of(&format!("[{message}]"))).remove(0)
}

pub fn message(message: &serde_json::Value) -> Message {
    match one(message) {
        InboundEvent::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

fn person(user_id: Option<&str>, phone: Option<&str>) -> Sender {
    let owned = |value: Option<&str>| value.map(ToOwned::to_owned);
    Sender {
        user_id: owned(user_id),
        phone: owned(phone),
        group: None,
    }
}

#[test]
fn a_text_is_read_with_all_that_is_known_of_its_sender() {
    let [InboundEvent::Message(message)] = &events(TEXT)[..] else {
        panic!()
    };
    assert_eq!(
        message.sender,
        person(Some("US.13491208655302741918"), Some("16505551234"))
    );
    assert_eq!(message.name.as_deref(), Some("Ana Böhm"));
    assert_eq!(message.at.map(|at| at.timestamp()), Some(1_749_416_383));
    assert_eq!(message.content, Content::Text("Good morning 😀".to_owned()));
}

#[test]
fn people_without_a_phone_are_known_by_their_user_id() {
    let rows = [
        (
            json!({"from_user_id": "DE.a1"}),
            person(Some("DE.a1"), None),
        ),
        (
            json!({"from_user_id": "DE.a1", "from": ""}),
            person(Some("DE.a1"), None),
        ),
        (
            json!({"from": "+1 (650) 555-1234"}),
            person(None, Some("16505551234")),
        ),
        (
            json!({"from": 16_505_551_234_u64}),
            person(None, Some("16505551234")),
        ),
        (
            json!({"from": "US.not-a-phone", "from_user_id": "x"}),
            person(Some("x"), None),
        ),
        (
            json!({"from": "16505551234", "from_user_id": "a\u{0}"}),
            person(None, Some("16505551234")),
        ),
    ];
    for (mut item, expected) in rows {
        item["id"] = json!("w");
        item["type"] = json!("text");
        assert_eq!(message(&item).sender, expected, "{item}");
    }
    for nobody in [
        json!({"id": "w", "type": "text"}),
        json!({"from": "16505551234", "type": "text"}),
    ] {
        assert_eq!(one(&nobody), InboundEvent::Unknown, "no sender or no id");
    }
}

#[test]
fn half_an_emoji_becomes_a_replacement_sign() {
    let raw = r#"[{"id":"w","from":"16505551234","type":"text","text":{"body":"cut \ud83d"}}]"#;
    let [InboundEvent::Message(message)] = &events(&body_of(raw))[..] else {
        panic!()
    };
    assert_eq!(message.content, Content::Text("cut \u{FFFD}".to_owned()));
}

#[test]
fn receipts_carry_our_callback_and_the_reason() {
    let events = events(STATUSES);
    let [
        InboundEvent::Status(sent),
        InboundEvent::Status(read),
        InboundEvent::Status(failed),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        sent.callback.as_deref(),
        Some("0198c0de-0000-7000-8000-000000000001:1")
    );
    assert_eq!(
        sent.recipient,
        person(Some("US.13491208655302741918"), Some("16505551234"))
    );
    assert!(read.state.rank() > sent.state.rank() && read.error.is_none());
    assert_eq!(
        (failed.state, failed.error.as_ref().map(|error| error.code)),
        (Delivery::Failed, Some(131_047))
    );
    assert!(Delivery::Delivered.rank() > Delivery::Failed.rank());
}

#[test]
fn only_the_messages_field_is_written_to_us() {
    for (field, kind) in [("calls", "status"), ("standby", "message")] {
        let item = json!({"id": "w", "status": "sent", "from": "16505551234", "type": "text"});
        let body = json!({"field": field, kind: item}).to_string();
        assert_eq!(
            parse(kind, body.as_bytes()),
            InboundEvent::Unknown,
            "{field}"
        );
    }
}

#[test]
fn a_call_is_a_sign_of_life_of_whoever_began_it() {
    let body = |event: &str, direction: &str| {
        json!({"entry": [{"changes": [{"field": "calls", "value": {
            "metadata": {"phone_number_id": "106"},
            "contacts": [{"wa_id": "16505551234", "user_id": "US.1349"}],
            "calls": [{"id": "wacid.1", "from": "16505551234", "to": "15550783881", "event": event,
                       "direction": direction, "timestamp": "1749416384"}],
        }}]}]})
        .to_string()
    };
    let begun = events(&body("connect", "USER_INITIATED"));
    let from = person(Some("US.1349"), Some("16505551234"));
    let at = DateTime::from_timestamp(1_749_416_384, 0);
    assert_eq!(begun, [InboundEvent::Call(Call { from, at })]);
    for (event, direction) in [
        ("terminate", "USER_INITIATED"),
        ("connect", "BUSINESS_INITIATED"),
    ] {
        assert_eq!(
            events(&body(event, direction)),
            [InboundEvent::Unknown],
            "{event}"
        );
    }
}

#[test]
fn a_person_under_a_new_address_is_told_in_four_ways() {
    let system = |item: serde_json::Value, system: serde_json::Value| {
        let mut item = item;
        item["id"] = json!("w");
        item["type"] = json!("system");
        item["system"] = system;
        match one(&item) {
            InboundEvent::Rekey(rekey) => Some((rekey.old, rekey.new)),
            _ => None,
        }
    };
    let (old, new) = ("16505551234", "12195555358");
    let rows = [
        (
            json!({"from": old}),
            json!({"type": "user_changed_number", "wa_id": new}),
            person(None, Some(old)),
            person(None, Some(new)),
        ),
        (
            json!({}),
            json!({"type": "user_changed_user_id", "user_id": "US.2", "previous_user_id": "US.1"}),
            person(Some("US.1"), None),
            person(Some("US.2"), None),
        ),
        (
            json!({}),
            json!({"type": "user_changed_user_id", "user_id": "US.2", "body": "User to US.7 changed from US.1 to US.2"}),
            person(Some("US.1"), None),
            person(Some("US.2"), None),
        ),
        (
            json!({"from": old}),
            json!({"type": "customer_changed_number", "customer": old, "new_wa_id": new}),
            person(None, Some(old)),
            person(None, Some(new)),
        ),
    ];
    for (item, body, was, is) in rows {
        assert_eq!(system(item, body.clone()), Some((was, is)), "{body}");
    }
    let rekeys: Vec<_> = events(MIXED)
        .into_iter()
        .filter(|e| matches!(e, InboundEvent::Rekey(_)))
        .collect();
    assert_eq!(
        rekeys.len(),
        2,
        "the system message and the user_id_update of the fixture"
    );
    let nothing = [
        json!({"type": "user_changed_user_id", "user_id": "US.2", "body": "User x changed from US.1 to US.3"}),
        json!({"type": "user_changed_number"}),
        json!({"type": "customer_identity_changed", "wa_id": new}),
        json!(5),
    ];
    for body in nothing {
        assert_eq!(system(json!({}), body.clone()), None, "{body}");
    }
}

#[test]
fn debug_shows_no_text_name_number_or_whole_id() {
    let shown: String = [TEXT, STATUSES, MIXED]
        .iter()
        .map(|body| format!("{:#?}", events(body)))
        .collect();
    assert!(
        shown.contains("Text(") && shown.contains("Rekey"),
        "{shown}"
    );
    let private = [
        "Good",
        "Ana",
        "Böhm",
        "1650",
        "12195555358",
        "US.1",
        "DE.2",
        "MTY1MDU1NTEyMzQ",
        "24 hours",
    ];
    for private in private {
        assert!(!shown.contains(private), "{private} in {shown}");
    }
}
