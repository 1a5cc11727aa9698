//! Whatever comes under a good signature: no panic, no lost sibling.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::event::events;
use super::meta::{MIXED, STATUSES, TEXT, body_of};
use crate::whatsapp::event::{InboundEvent, parse};
use crate::whatsapp::provider::Provider;
use crate::whatsapp::signature::verify;

fn understand(body: &[u8]) -> usize {
    let of_kapso = |event| Provider::Kapso.cut(event, body);
    let updates = Provider::Meta.cut(None, body);
    let received = of_kapso(Some("whatsapp.message.received"));
    let read = of_kapso(Some("whatsapp.message.read"));
    for update in updates
        .iter()
        .chain(&of_kapso(None))
        .chain(&received)
        .chain(&read)
    {
        for kind in ["message", "status", "system", "unknown", "never heard of"] {
            assert!(!format!("{:?}", parse(kind, &update.body)).is_empty());
        }
    }
    updates.len()
}

fn strange() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec!["", "\0", "text", "system", "wamid.x", "-1", "1e9"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = select(vec![
            "id", "type", "text", "system", "body", "user_id", "from", "\0", "x",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// Every place in a document, to be replaced one at a time.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(i, item)| places(item, format!("{at}/{i}"), found));
        }
        Value::Object(members) => {
            members
                .iter()
                .for_each(|(key, item)| places(item, format!("{at}/{key}"), found));
        }
        _ => {}
    }
    found.push(at);
}

proptest! {
    #[test]
    fn any_bytes_are_cut_into_at_least_one_update(body in any::<Vec<u8>>()) {
        prop_assert!(understand(&body) >= 1);
    }

    #[test]
    fn any_damage_to_the_bytes_of_a_webhook_is_survived(
        which in select(vec![TEXT, STATUSES, MIXED]),
        at in any::<Index>(),
        cutting in 0..20_usize,
        put in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut body = which.as_bytes().to_vec();
        let start = at.index(body.len());
        let end = (start + cutting).min(body.len());
        body.splice(start..end, put);
        prop_assert!(understand(&body) >= 1);
    }

    #[test]
    fn any_value_anywhere_in_a_webhook_is_survived(
        which in select(vec![TEXT, STATUSES, MIXED]), at in any::<Index>(), value in strange(),
    ) {
        let mut body: Value = serde_json::from_str(which).unwrap();
        let mut found = Vec::new();
        places(&body, String::new(), &mut found);
        *body.pointer_mut(&found[at.index(found.len())]).unwrap() = value;
        prop_assert!(understand(body.to_string().as_bytes()) >= 1);
    }

    #[test]
    fn siblings_of_anything_survive(strange in prop::collection::vec(strange(), 0..6), at in any::<Index>()) {
        let good = json!({"id": "wamid.good", "from": "16505551234", "type": "text", "text": {"body": "hi"}});
        let mut items = strange.clone();
        items.insert(at.index(items.len() + 1), good);
        let events = events(&body_of(&Value::from(items).to_string()));
        prop_assert_eq!(events.len(), strange.len() + 1);
        let is_good = |event: &&InboundEvent| matches!(event, InboundEvent::Message(m) if m.id == "wamid.good");
        prop_assert_eq!(events.iter().filter(is_good).count(), 1);
    }

    #[test]
    fn no_made_up_header_verifies(header in any::<String>(), body in any::<Vec<u8>>()) {
        let prefixed = format!("sha256={header}");
        for provider in [Provider::Meta, Provider::Kapso] {
            prop_assert!(!verify(provider, b"secret", Some(&header), &body));
            prop_assert!(!verify(provider, b"secret", Some(&prefixed), &body));
        }
    }
}
