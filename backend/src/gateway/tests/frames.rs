//! What we send fits OpenClaw's schema, what it sent fits it too, and nothing makes us panic.

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json, value::RawValue};

use crate::{
    gateway::{
        device::Device,
        hello::read_hello,
        protocol::{
            Abort, Challenge, Connect, Delete, Frame, History, Request, Send, SetFile, Subscribe,
            decode,
        },
        suspend::Suspension,
        transcript,
    },
    id::SandboxId,
    seal::MasterKey,
};

fn schema(definition: &str, open: bool) -> Validator {
    let file = include_str!("../fixtures/protocol.schema.json");
    let mut schema: Value = serde_json::from_str(file).unwrap();
    assert!(schema["definitions"][definition].is_object());
    if open {
        allow_more(&mut schema);
    }
    schema["$ref"] = format!("#/definitions/{definition}").into();
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_valid(definition: &str, value: &Value) {
    if let Err(error) = schema(definition, false).validate(value) {
        panic!("not a {definition}: {error} in {value}");
    }
}

/// What a gateway sent; it is newer than the schema and has fields of its own.
fn assert_received(definition: &str, value: &Value) {
    if let Err(error) = schema(definition, true).validate(value) {
        panic!("not a {definition}: {error} in {value}");
    }
}

fn allow_more(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("additionalProperties");
            map.values_mut().for_each(allow_more);
        }
        Value::Array(list) => list.iter_mut().for_each(allow_more),
        _ => {}
    }
}

fn assert_sendable(request: &Request<'_>, definition: &str) {
    let frame: Value = serde_json::from_str(&request.encode(7)).unwrap();
    assert_valid("RequestFrame", &frame);
    assert_valid(definition, &frame["params"]);
}

#[test]
fn every_frame_we_send_fits_the_schema() {
    let key = SecretString::from("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let device = Device::of(&MasterKey::parse(&key).unwrap(), SandboxId::new());
    let challenge = Challenge {
        nonce: "n".into(),
        ts: 1,
    };
    assert_sendable(
        &Request::Connect(Connect::new(&device, "t", &challenge)),
        "ConnectParams",
    );
    assert_sendable(
        &Request::History(History::new("main-1", None)),
        "ChatHistoryParams",
    );
    assert_sendable(
        &Request::History(History::new("main-1", Some("c"))),
        "ChatHistoryParams",
    );
    let subscribe = Request::Subscribe(Subscribe { key: "main-1" });
    assert_sendable(&subscribe, "SessionsMessagesSubscribeParams");
    assert_sendable(&Request::Abort(Abort::new("main-1")), "SessionsAbortParams");
    let delete = Request::Delete(Delete {
        key: "heartbeat-1",
        delete_transcript: true,
    });
    assert_sendable(&delete, "SessionsDeleteParams");
    let file = Request::SetFile(SetFile::new("USER.md", "Anna"));
    assert_sendable(&file, "AgentsFilesSetParams");
    let id = "s1";
    for (asked, definition) in [
        (Suspension::PREPARE, "GatewaySuspendPrepareParams"),
        (
            Suspension::Status { suspension_id: id },
            "GatewaySuspendStatusParams",
        ),
        (
            Suspension::Resume { suspension_id: id },
            "GatewaySuspendResumeParams",
        ),
    ] {
        assert_sendable(&Request::Suspension(asked), definition);
    }
}

#[test]
fn a_recorded_hello_tells_our_scopes_and_the_tick() {
    let recorded = include_str!("../fixtures/hello.json");
    assert_received("HelloOk", &serde_json::from_str(recorded).unwrap());
    let raw: Box<RawValue> = serde_json::from_str(recorded).unwrap();
    let hello = read_hello(&raw).unwrap();
    assert!(hello.scopes.iter().any(|scope| scope == "operator.admin"));
    assert_eq!(hello.tick.as_secs(), 30);
    assert!(!hello.is_suspended);
}

#[test]
fn recorded_events_fit_the_schema_and_tell_which_runs_ended() {
    let recorded: Vec<Value> =
        serde_json::from_str(include_str!("../fixtures/chats.json")).unwrap();
    let mut ended = 0;
    for frame in &recorded {
        assert_received("EventFrame", frame);
        assert_received("ChatEvent", &frame["payload"]);
        let Frame::Chat(chat) = decode(&frame.to_string()) else {
            panic!("{frame}")
        };
        assert!(!chat.session.contains(':') && !chat.run.is_empty());
        ended += usize::from(chat.ended);
    }
    assert!(ended > 0 && ended < recorded.len());
}

#[test]
fn recorded_histories_fit_the_schema() {
    let recorded = [
        include_str!("../fixtures/normal.json"),
        include_str!("../fixtures/followup.json"),
        include_str!("../fixtures/killed.json"),
        include_str!("../fixtures/tombstoned.json"),
    ];
    for pages in recorded {
        let pages: Vec<Value> = serde_json::from_str(pages).unwrap();
        for page in pages.iter().filter(|page| page["kind"] == "delta") {
            assert_received("ChatHistoryCursorResult", page);
        }
    }
}

#[test]
fn a_refusal_keeps_what_we_decide_by() {
    let frame = json!({ "type": "res", "id": "3", "ok": false, "error": {
        "code": "UNAVAILABLE", "message": "gateway starting", "retryable": true,
        "retryAfterMs": 500, "details": { "reason": "startup-sidecars" } } });
    assert_received("ResponseFrame", &frame);
    let Frame::Response(Some(3), Err(rejection)) = decode(&frame.to_string()) else {
        panic!()
    };
    assert_eq!(
        (rejection.code.as_str(), rejection.reason.as_str()),
        ("UNAVAILABLE", "startup-sidecars")
    );
    assert_eq!(rejection.retry_after.unwrap().as_millis(), 500);
}

/// Any JSON, with the field names we look for, so that the wrong types meet our readers.
fn any_json() -> impl Strategy<Value = Value> {
    let names = "type|id|event|ok|payload|error|messages|message|role|content|text|stopReason|\
                 idempotencyKey|__openclaw|runId|kind|deltaCursor|sessionInfo|pendingInputs|items|\
                 status|auth|scopes|policy|sessionKey|state|details|code|activeRunIds";
    let words = "res|event|chat|connect.challenge|user|assistant|custom|stop|toolUse|final|[a-z\\[\\]:]{0,12}|\\PC{0,8}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(names, inner, 0..7)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_reaches_the_agent_as_a_valid_frame(text in "\\PC{0,200}|[\\x00-\\x1f]{0,9}") {
        static SEND: LazyLock<Validator> = LazyLock::new(|| schema("ChatSendParams", false));
        let frame = Request::Send(Send::new("main-1", &text, &[], "t:1")).encode(7);
        let frame: Value = serde_json::from_str(&frame).unwrap();
        prop_assert!(SEND.is_valid(&frame["params"]));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_json_makes_a_reader_panic(value in any_json()) {
        let text = value.to_string();
        decode(&text);
        let raw = RawValue::from_string(text).unwrap();
        read_hello(&raw);
        if let Some(page) = transcript::page(&raw) {
            for row in page.rows {
                prop_assert!(!row.id.is_empty());
            }
        }
    }

    #[test]
    fn no_row_makes_us_say_more_than_the_limit(text in "\\PC{0,40}", times in 1_usize..2_000) {
        let page = json!({ "messages": [{ "role": "assistant", "content": text.repeat(times),
            "stopReason": "stop", "__openclaw": { "id": "a" } }] });
        let page = transcript::page(&RawValue::from_string(page.to_string()).unwrap()).unwrap();
        if let transcript::Kind::Said(said) = &page.rows[0].kind {
            prop_assert!(said.len() <= transcript::MAX_TEXT_BYTES && !said.contains('\0'));
        }
    }
}

#[test]
fn a_frame_nested_without_end_is_refused() {
    let frame = format!(
        r#"{{"type":"event","event":"chat","payload":{}1{}}}"#,
        "[".repeat(9_999),
        "]".repeat(9_999)
    );
    assert!(matches!(decode(&frame), Frame::Other));
}
