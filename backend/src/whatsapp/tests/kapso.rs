//! What Kapso sends, cut and read.

use serde_json::{Value, json};

use super::meta::body_of;
use crate::whatsapp::{
    event::{Content, InboundEvent, parse},
    kapso::{cut, cut_listed},
    poll::Direction,
    update::{Kind, Update},
};

const RECEIVED: &str = "whatsapp.message.received";

fn delivery() -> Value {
    json!({
        "message": {
            "id": "wamid.1", "timestamp": "1749416383", "type": "text", "text": {"body": "Hello"},
            "from": "15551234567", "from_user_id": "US.134",
            "kapso": {"direction": "inbound", "status": "received", "origin": "cloud_api",
                      "phone_number": "+15551234567", "phone_number_id": "106", "contact_name": "John"}
        },
        "conversation": {"id": "c", "phone_number": "+15551234567", "business_scoped_user_id": "US.134",
                         "username": "john", "phone_number_id": "106", "kapso": {"contact_name": "John"}},
        "is_new_conversation": true,
        "phone_number_id": "106"
    })
}

fn single(event: &str, body: &Value) -> Vec<Update> {
    cut(Some(event), body.to_string().as_bytes())
}

fn events(updates: &[Update]) -> Vec<InboundEvent> {
    updates
        .iter()
        .map(|update| parse(update.kind.as_str(), &update.body))
        .collect()
}

fn says_hello(update: &Update) {
    assert_eq!(update.kind, Kind::Message);
    assert_eq!(update.phone_number_id.as_deref(), Some("106"));
    assert_eq!(update.provider_id, "wamid.1");
    assert_eq!(
        update.provider_at.map(|at| at.timestamp()),
        Some(1_749_416_383)
    );
    let InboundEvent::Message(message) = parse("message", &update.body) else {
        panic!("no message");
    };
    assert_eq!(message.content, Content::Text("Hello".to_owned()));
    assert_eq!(message.name.as_deref(), Some("John"));
    assert_eq!(message.sender.phone.as_deref(), Some("15551234567"));
    assert_eq!(message.sender.user_id.as_deref(), Some("US.134"));
}

#[test]
fn all_three_shapes_say_the_same() {
    let [one] = &single(RECEIVED, &delivery())[..] else {
        panic!()
    };
    says_hello(one);

    let batch = json!({"type": RECEIVED, "batch": true, "data": [delivery(), delivery()],
                       "batch_info": {"size": 2}});
    let updates = cut(None, batch.to_string().as_bytes());
    assert_eq!(updates.len(), 2);
    updates.iter().for_each(says_hello);

    let raw = r#"[{"id":"wamid.1","from":"15551234567","type":"text","text":{"body":"Hello"}}]"#;
    let [handed_on] = &cut(None, body_of(raw).as_bytes())[..] else {
        panic!()
    };
    assert_eq!(handed_on.kind, Kind::Message);
    assert_eq!(handed_on.provider_id, "wamid.1");
}

#[test]
fn a_sender_whom_the_message_leaves_out_is_the_conversations() {
    let mut body = delivery();
    let message = body["message"].as_object_mut().unwrap();
    message.remove("from");
    message.remove("from_user_id");
    says_hello(&single(RECEIVED, &body)[0]);
    body["conversation"]["phone_number"] = Value::Null;
    let [InboundEvent::Message(message)] = &events(&single(RECEIVED, &body))[..] else {
        panic!()
    };
    assert_eq!(message.sender.phone, None);
    assert_eq!(message.sender.user_id.as_deref(), Some("US.134"));
}

#[test]
fn what_no_person_sends_now_wakes_nobody() {
    for (key, value) in [
        ("direction", "outbound"),
        ("origin", "business_app"),
        ("origin", "history_sync"),
    ] {
        let mut body = delivery();
        body["message"]["kapso"][key] = json!(value);
        assert_eq!(single(RECEIVED, &body)[0].kind, Kind::Unknown, "{value}");
    }
    for event in [
        "whatsapp.conversation.created",
        "whatsapp.conversation.inactive",
        "new.thing",
    ] {
        let [update] = &single(event, &delivery())[..] else {
            panic!()
        };
        assert_eq!(update.kind, Kind::Unknown, "{event}");
        assert_eq!(update.phone_number_id.as_deref(), Some("106"));
    }
}

#[test]
fn what_is_said_about_a_person_is_not_from_them() {
    let mut body = delivery();
    body["message"]["type"] = json!("system");
    body["message"]["system"] = json!({"type": "user_changed_number", "wa_id": "12195555358"});
    let updates = single(RECEIVED, &body);
    assert_eq!(updates[0].kind, Kind::System);
    let [InboundEvent::Rekey(rekey)] = &events(&updates)[..] else {
        panic!()
    };
    assert_eq!(rekey.old.phone.as_deref(), Some("15551234567"));
    assert_eq!(rekey.new.phone.as_deref(), Some("12195555358"));
}

#[test]
fn a_member_of_a_group_is_not_taken_for_somebody_by_themselves() {
    let named = |by: fn(&mut Value)| {
        let mut body = delivery();
        body["message"]["kapso"]["contact_name"] = json!("Ana");
        body["conversation"]["kapso"]["contact_name"] = json!("Family");
        by(&mut body);
        body
    };
    let metas = named(|body| body["message"]["group_id"] = json!("1203@g.us"));
    let phones = named(|body| {
        body["message"]["from_user_id"] = Value::Null;
        body["message"]["kapso"]["phone_number"] = json!("1203@g.us");
        body["conversation"]["phone_number"] = json!("1203@g.us");
        body["conversation"]["business_scoped_user_id"] = json!("US.group");
        body["message"]["kapso"]["business_scoped_user_id"] = json!("US.group");
    });
    for (body, user_id) in [(metas, Some("US.134")), (phones, None)] {
        let item = serde_json::value::to_raw_value(&body["message"]).unwrap();
        let listed = cut_listed("106", Direction::Inbound, &item).unwrap();
        for updates in [single(RECEIVED, &body), listed] {
            let [InboundEvent::Message(message)] = &events(&updates)[..] else {
                panic!("{body}")
            };
            assert_eq!(message.sender.group.as_deref(), Some("1203@g.us"));
            assert_eq!(message.sender.phone.as_deref(), Some("15551234567"));
            assert_eq!(message.sender.user_id.as_deref(), user_id);
            assert_eq!(message.name.as_deref(), Some("Ana"));
        }
    }
}

#[test]
fn receipts_come_with_all_that_went_before() {
    let mut body = delivery();
    let statuses = json!([
        {"id": "wamid.9", "status": "sent", "timestamp": "1749416390", "biz_opaque_callback_data": "o:1"},
        {"id": "wamid.9", "status": "delivered", "timestamp": "1749416391", "recipient_id": "15551234567"},
    ]);
    body["message"]["id"] = json!("wamid.9");
    body["message"]["kapso"] = json!({"direction": "outbound", "statuses": statuses});
    let updates = single("whatsapp.message.delivered", &body);
    let keys: Vec<_> = updates
        .iter()
        .map(|update| update.provider_id.as_str())
        .collect();
    assert_eq!(keys, ["wamid.9:sent", "wamid.9:delivered"]);
    let [InboundEvent::Status(sent), InboundEvent::Status(delivered)] = &events(&updates)[..]
    else {
        panic!()
    };
    assert_eq!(sent.callback.as_deref(), Some("o:1"));
    assert_eq!(delivered.recipient.phone.as_deref(), Some("15551234567"));

    body["message"]["kapso"] = json!({"direction": "outbound"});
    let [read] = &single("whatsapp.message.read", &body)[..] else {
        panic!()
    };
    assert_eq!(read.provider_id, "wamid.9:read");
}

#[test]
fn what_is_huge_is_not_copied_to_every_receipt() {
    let mut body = delivery();
    let status = |n: usize| json!({"id": format!("wamid.{n}"), "status": "read"});
    let statuses: Vec<_> = (0..100).map(status).collect();
    body["message"]["kapso"] = json!({"direction": "outbound", "statuses": statuses});
    body["conversation"]["kapso"]["contact_name"] = json!("x".repeat(100_000));
    let updates = single("whatsapp.message.read", &body);
    assert_eq!(updates.len(), 100);
    let all: usize = updates.iter().map(|update| update.body.len()).sum();
    assert!(all < 100_000, "{all} bytes");
    let [InboundEvent::Status(status)] = &events(&updates[..1])[..] else {
        panic!()
    };
    assert_eq!(status.wamid, "wamid.0");
}

#[test]
fn rubbish_is_kept_and_costs_no_sibling() {
    for body in ["", "[]", "{}", "null", "{\"data\":5}", "{\"message\":1}"] {
        let updates = cut(Some(RECEIVED), body.as_bytes());
        assert_eq!(updates.len(), 1, "{body}");
        assert_eq!(updates[0].kind, Kind::Unknown);
        assert_eq!(updates[0].body, body.as_bytes());
    }
    let batch = json!({"type": RECEIVED, "data": [7, {"message": []}, delivery()]});
    let updates = cut(None, batch.to_string().as_bytes());
    let kinds: Vec<_> = updates.iter().map(|update| update.kind).collect();
    assert_eq!(kinds, [Kind::Unknown, Kind::Unknown, Kind::Message]);
}
