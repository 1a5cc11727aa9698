//! The same over the control API.

use serde_json::{Value, json};

use super::{Product, product, start};

#[tokio::test]
async fn a_script_can_be_a_person_and_see_the_answer() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let control = simulators.start_control(0).await.unwrap();
    let http = product::client();

    let say = json!({"person": "15550001", "text": "Hello!"});
    let said = http
        .post(format!("{control}/say"))
        .json(&say)
        .send()
        .await
        .unwrap();
    assert_eq!(said.status(), 200);
    let wait = http
        .get(format!("{control}/wait?phone=15550001&timeout=10"))
        .send();
    let body = product::text_to("15550001", "Hi Ana");
    let (waited, sent) = tokio::join!(wait, product::call(&simulators, &body));
    assert_eq!(sent.unwrap().status(), 200);

    let waited: Value = waited.unwrap().json().await.unwrap();
    assert_eq!(waited["messages"][0]["text"], "Hi Ana");
    let chat = http
        .get(format!("{control}/chat/15550001"))
        .send()
        .await
        .unwrap();
    let chat: Value = chat.json().await.unwrap();
    assert_eq!(chat["person"]["name"], "Ana");
    let sides = chat["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["side"]);
    assert_eq!(sides.collect::<Vec<_>>(), ["person", "assistant"]);
}

#[tokio::test]
async fn everything_in_the_manual_can_be_programmed() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let control = simulators.start_control(0).await.unwrap();
    for (path, body) in [
        ("faults", json!({"fault": "delay", "ms": 1})),
        (
            "faults",
            json!({"fault": "error", "code": 131056, "to": "15550001", "times": 1}),
        ),
        (
            "faults",
            json!({"fault": "http", "status": 503, "on": "any"}),
        ),
        ("faults", json!({"fault": "garbage"})),
        ("faults", json!({"fault": "drop"})),
        ("faults", json!({"fault": "take_and_drop", "on": "mark"})),
        ("faults", json!({"fault": "hold", "gate": "a"})),
        ("faults", json!({"fault": "hold_answer", "gate": "b"})),
        ("receipts", json!({"receipts": []})),
        (
            "receipts",
            json!({"receipts": [{"status": "failed", "code": 131026}], "times": 1}),
        ),
        ("window/close", json!({"phone": "15550001"})),
        ("pair-rate", json!({"burst": 45, "every_ms": 6000})),
        ("pair-rate", Value::Null),
        ("rules", json!({})),
        (
            "rules",
            json!({"contains": "x", "then": {"do": "text", "text": "{marks}"}}),
        ),
        (
            "rules",
            json!({"times": 2, "then": {"do": "fail", "status": 500}}),
        ),
        (
            "rules",
            json!({"hold": {"gate": "c", "at": "first_token"}, "pace_ms": 5}),
        ),
        ("rules", json!({"then": {"do": "long", "characters": 9000}})),
        (
            "rules",
            json!({"then": {"do": "tools", "rounds": [[{"name": "a", "arguments": {}}]],
            "text": "b"}}),
        ),
        ("rules", json!({"then": {"do": "empty"}})),
        ("rules", json!({"then": {"do": "break", "text": "b"}})),
        ("release", json!({"gate": "a"})),
        ("release", json!({"gate": "b", "then": "go_and_drop"})),
        ("refuse", json!({"service": "whatsapp"})),
        ("accept", json!({"service": "whatsapp"})),
        ("webhook", json!({"url": product.url})),
    ] {
        let request = product::client()
            .post(format!("{control}/{path}"))
            .json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!(
            answer.status(),
            200,
            "{path} {body}: {}",
            answer.text().await.unwrap()
        );
    }
}
