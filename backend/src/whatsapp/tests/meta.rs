//! How bodies are cut, from real shapes to broken ones.

use serde_json::{Value, json};

use crate::whatsapp::meta::cut;
use crate::whatsapp::update::{Kind, MAX_UPDATES, Update};

pub const TEXT: &str = include_str!("../fixtures/text.json");
pub const STATUSES: &str = include_str!("../fixtures/statuses.json");
pub const MIXED: &str = include_str!("../fixtures/mixed.json");

pub fn body_of(messages: &str) -> String {
    format!(
        r#"{{"entry":[{{"changes":[{{"field":"messages","value":{{
        "metadata":{{"phone_number_id":"106"}},"messages":{messages}}}}}]}}]}}"#
    )
}

fn seen(updates: &[Update]) -> Vec<(&str, &str)> {
    updates
        .iter()
        .map(|update| (update.kind.as_str(), update.provider_id.as_str()))
        .collect()
}

#[test]
fn the_events_of_one_call_have_keys_of_their_own() {
    let calls =
        json!([{"id": "wacid.1", "event": "connect"}, {"id": "wacid.1", "event": "terminate"}]);
    let body = json!({"entry": [{"changes": [{"field": "calls", "value": {
        "metadata": {"phone_number_id": "106"}, "calls": calls}}]}]});
    let expected = [("call", "wacid.1:connect"), ("call", "wacid.1:terminate")];
    assert_eq!(seen(&cut(body.to_string().as_bytes())), expected);
}

#[test]
fn every_entry_change_message_and_status_is_cut() {
    let updates = cut(MIXED.as_bytes());
    let named: Vec<_> = seen(&updates)
        .into_iter()
        .filter(|(_, id)| id.len() != 64)
        .collect();
    let expected = [
        ("message", "wamid.A1"),
        ("message", "wamid.B1"),
        ("message", "wamid.A2"),
        ("message", "wamid.A3"),
        ("system", "wamid.S1"),
    ];
    assert_eq!(named, expected);
    let kinds: Vec<Kind> = updates[5..].iter().map(|update| update.kind).collect();
    assert_eq!(kinds, [Kind::System, Kind::Unknown, Kind::Unknown]);
    let lines: Vec<_> = updates
        .iter()
        .map(|update| update.phone_number_id.as_deref())
        .collect();
    assert_eq!(lines[0], Some("106540352242922"));
    assert_eq!(
        lines[5..],
        [Some("206540352242922"), None, Some("206540352242922")]
    );
    assert_eq!(
        updates[1].provider_at.map(|at| at.timestamp()),
        Some(1_749_416_384)
    );
    let statuses = cut(STATUSES.as_bytes());
    assert!(statuses.iter().all(|update| update.kind == Kind::Status));
    assert!(
        statuses[0].provider_id.ends_with("NEUA:sent"),
        "{}",
        statuses[0].provider_id
    );
    assert_eq!(statuses.len(), 3);
}

#[test]
fn an_update_holds_its_own_bytes_and_only_its_own_contact() {
    let updates = cut(MIXED.as_bytes());
    let second = String::from_utf8(updates[1].body.clone()).unwrap();
    assert!(
        second.contains(r#""message":{"from_user_id":"DE.2","id":"wamid.B1""#),
        "{second}"
    );
    assert!(second.contains(r#""contacts":[{"profile":{"name":"Bo"}"#) && !second.contains("Ana"));
    assert!(serde_json::from_str::<Value>(&second).is_ok());
    let text = String::from_utf8(cut(TEXT.as_bytes())[0].body.clone()).unwrap();
    assert!(
        text.contains(r"Good morning \ud83d\ude00"),
        "the bytes as they came: {text}"
    );
}

#[test]
fn a_contact_that_contradicts_the_message_is_left_out() {
    let body = r#"{"entry":[{"changes":[{"value":{"contacts":[{"wa_id":"1","user_id":"US.1"}],
        "messages":[{"id":"a","from":"2"},{"id":"b","from":"1"},{"id":"c"},{"id":"d","from":"1","from_user_id":"US.2"}]}}]}]}"#;
    let with_contact: Vec<bool> = cut(body.as_bytes())
        .iter()
        .map(|update| String::from_utf8_lossy(&update.body).contains("contacts"))
        .collect();
    assert_eq!(with_contact, [false, true, true, false]);
}

#[test]
fn a_broken_item_costs_no_sibling() {
    let good = r#"{"id":"wamid.good","from":"16505551234","type":"text","text":{"body":"hi"}}"#;
    let deep = format!(
        "{{\"id\":\"d\",\"x\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let bad = [
        "5",
        "null",
        "\"text\"",
        "[]",
        "{}",
        r#"{"id":7,"type":8,"text":9}"#,
        r#"{"id":{"a":1}}"#,
        r#"{"id":"\ud800","text":{"body":"\udfff"}}"#,
        r#"{"\ud800":1}"#,
        r#"{"id":"a\u0000b"}"#,
        r#"{"id":"x","id":"y"}"#,
        r#"{"id":""}"#,
        r#"{"timestamp":"99999999999999999999"}"#,
        &deep,
    ];
    for bad in bad {
        let updates = cut(body_of(&format!("[{good},{bad},{good}]")).as_bytes());
        assert_eq!(updates.len(), 3, "{bad}");
        for at in [0, 2] {
            assert_eq!(updates[at].provider_id, "wamid.good", "{bad}");
        }
        assert!(!updates[1].provider_id.contains('\0'));
        assert!((1..=512).contains(&updates[1].provider_id.len()), "{bad}");
    }
}

#[test]
fn what_cannot_be_cut_is_kept_whole() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"not json",
        b"[]",
        b"5",
        b"{}",
        b"{\"entry\":[]}",
        b"{\"entry\":5}",
        b"\xff\xfe",
        br#"{"entry":[{"changes":[{"value":{"messages":"none"}}]}]}"#,
    ];
    for body in bodies {
        let updates = cut(body);
        assert_eq!((updates.len(), updates[0].kind), (1, Kind::Unknown));
        assert_eq!(updates[0].provider_id.len(), 64);
    }
    assert_eq!(cut(b"not json")[0].body, b"not json");
}

#[test]
fn the_key_is_a_hash_when_the_id_will_not_do() {
    let long = "x".repeat(600);
    let with_line = |id: &str| cut(body_of(&format!("[{{\"id\":\"{id}\"}}]")).as_bytes());
    assert_eq!(with_line(&long)[0].provider_id.len(), 64);
    assert_eq!(with_line("a\\u0000b")[0].provider_id.len(), 64);
    assert_eq!(with_line("fine")[0].provider_id, "fine");
    let no_line = r#"{"entry":[{"changes":[{"value":{"messages":[{"id":"fine"}]}}]}]}"#;
    assert_eq!(cut(no_line.as_bytes())[0].provider_id.len(), 64);
    let again = (cut(no_line.as_bytes()), cut(no_line.as_bytes()));
    assert_eq!(again.0[0].provider_id, again.1[0].provider_id);
}

#[test]
fn doubled_keys_lose_nobody() {
    let body = r#"{"entry":[{"changes":[{"value":{"messages":[{"id":"a"}],"messages":[{"id":"b"}],
        "statuses":[{"id":"c","status":"sent"}]}}],"changes":[]}],"entry":[{"changes":[{"value":{"messages":[{"id":"d"}]}}]}]}"#;
    assert_eq!(cut(body.as_bytes()).len(), 4);
}

#[test]
fn too_many_updates_are_bounded_and_still_kept() {
    let item = json!({"id": "w", "type": "text"}).to_string();
    let full = body_of(&format!("[{}]", vec![item.as_str(); MAX_UPDATES].join(",")));
    assert_eq!(cut(full.as_bytes()).len(), MAX_UPDATES);
    let over = body_of(&format!(
        "[{}]",
        vec![item.as_str(); MAX_UPDATES + 5].join(",")
    ));
    let updates = cut(over.as_bytes());
    assert_eq!(updates.len(), MAX_UPDATES + 1);
    assert_eq!(updates[MAX_UPDATES].body, over.as_bytes());
}

#[test]
fn three_megabytes_do_not_multiply() {
    let contact = json!({"wa_id": "1", "profile": {"name": "n".repeat(1_500_000)}}).to_string();
    let items = vec![r#"{"id":"w","from":"1"}"#; MAX_UPDATES].join(",");
    let body = body_of(&format!("[{items}],\"contacts\":[{contact}]"));
    let total: usize = cut(body.as_bytes())
        .iter()
        .map(|update| update.body.len())
        .sum();
    assert!(total < 1_000_000, "{total}");
}
