//! What the model answers.

use serde_json::{Value, json};

use super::{Product, SOON, product, start};
use e2e::{
    Simulators, Then,
    model::{At, End, Rule, Script, ToolCall},
};

fn request(text: &str) -> Value {
    json!({
        "model": "simulated", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}],
    })
}

async fn ask(simulators: &Simulators, body: &Value) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/chat/completions", simulators.model.url());
    let key = &simulators.model.settings().key;
    product::client()
        .post(url)
        .bearer_auth(key)
        .json(body)
        .send()
        .await
}

/// The events of a stream without its comments, `[DONE]` left out but insisted on.
async fn events(simulators: &Simulators, body: &Value) -> Vec<Value> {
    let text = ask(simulators, body).await.unwrap().text().await.unwrap();
    let events = text
        .trim_end()
        .split("\n\n")
        .filter(|event| !event.starts_with(':'));
    let mut events: Vec<&str> = events.collect();
    assert_eq!(events.pop(), Some("data: [DONE]"));
    let data = events
        .iter()
        .map(|event| event.strip_prefix("data: ").unwrap());
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn text_of(events: &[Value]) -> String {
    let deltas = events
        .iter()
        .map(|event| &event["choices"][0]["delta"]["content"]);
    deltas.filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn a_stream_begins_with_the_role_and_ends_with_the_usage() {
    let product = Product::start().await;
    let simulators = start(&product).await;

    let events = events(&simulators, &request("Hello! Who are you?")).await;

    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let [.., end, usage] = events.as_slice() else {
        panic!("too short: {events:?}")
    };
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64() > Some(0));
    assert!(text_of(&events).contains("your personal assistant"));
    let asked = simulators.model.requests();
    assert_eq!(
        asked[0].bytes,
        request("Hello! Who are you?").to_string().len()
    );
    assert_eq!(asked[0].pending, ["Hello! Who are you?"]);
    assert_eq!(asked[0].end, End::Answered(200));
}

#[tokio::test]
async fn without_a_stream_the_answer_comes_whole_under_any_prefix() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let root = simulators.model.url();
    let url = format!(
        "{}/api/v1/chat/completions",
        root.strip_suffix("/v1").unwrap()
    );
    let mut body = request("#mark-1 and #mark-2");
    body["stream"] = json!(false);

    let request = product::client()
        .post(url)
        .bearer_auth(&simulators.model.settings().key);
    let answer: Value = request
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();

    let choice = &answer["choices"][0];
    assert_eq!(
        choice["message"]["content"],
        "Got it, thank you! #mark-1 #mark-2"
    );
    assert_eq!(choice["finish_reason"], "stop");
}

#[tokio::test]
async fn a_wrong_key_and_a_body_of_rubbish_are_refused_and_kept() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let url = format!("{}/chat/completions", simulators.model.url());
    let key = &simulators.model.settings().key;
    for (key, body, status) in [("wrong", "{}", 401), (key, "{", 400), (key, "{}", 400)] {
        let request = product::client().post(&url).bearer_auth(key).body(body);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    assert_eq!(simulators.model.requests().len(), 3);
}

#[tokio::test]
async fn tools_are_called_in_rounds_before_the_text() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let call = ToolCall {
        name: "remind".to_owned(),
        arguments: json!({"at": "noon"}),
    };
    let script = Script::Tools {
        rounds: vec![vec![call]],
        text: "Noted.".to_owned(),
    };
    simulators
        .model
        .program(Rule::new(script).when("remind me").times(1));

    let mut body = request("remind me");
    let first = events(&simulators, &body).await;
    let called = &first[1]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(called["function"]["name"], "remind");
    assert_eq!(called["function"]["arguments"], r#"{"at":"noon"}"#);
    assert_eq!(first[2]["choices"][0]["finish_reason"], "tool_calls");

    let rows = body["messages"].as_array_mut().unwrap();
    rows.push(json!({"role": "assistant", "content": null, "tool_calls": [called]}));
    rows.push(json!({"role": "tool", "tool_call_id": called["id"], "content": "ok"}));
    assert_eq!(text_of(&events(&simulators, &body).await), "Noted.");
    assert!(!text_of(&events(&simulators, &body).await).contains("Noted."));
}

#[tokio::test]
async fn failures_are_spent_and_then_the_model_answers() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    simulators.model.program(Rule::fail(429).times(2));
    simulators.model.program(Rule::new(Script::Empty).times(1));

    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(
            ask(&simulators, &request("Hi"))
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(seen, [429, 429]);
    assert_eq!(text_of(&events(&simulators, &request("Hi")).await), "");
    assert!(!text_of(&events(&simulators, &request("Hi")).await).is_empty());
}

#[tokio::test]
async fn a_stream_can_wait_after_its_first_word() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    simulators.model.program(Rule::hold("word", At::FirstToken));

    let mut answer = ask(&simulators, &request("#mark-1")).await.unwrap();
    simulators.gates.reached("word", 1, SOON).await.unwrap();
    let mut text = String::new();
    while !text.contains("Got") {
        text.push_str(&String::from_utf8_lossy(
            &answer.chunk().await.unwrap().unwrap(),
        ));
    }
    assert!(!text.contains("#mark-1"));

    simulators.gates.release("word", Then::Go);
    while let Some(chunk) = answer.chunk().await.unwrap() {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.contains("#mark-1") && text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_broken_stream_is_an_error_after_some_words() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    simulators.model.program(Rule::new(Script::Break {
        text: "one two three four".to_owned(),
    }));

    let mut answer = ask(&simulators, &request("Hi")).await.unwrap();
    let mut text = String::new();
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk)),
            end => break end,
        }
    };

    assert!(broken.is_err(), "{broken:?}");
    assert!(text.contains("two") && !text.contains("three"), "{text}");
    assert_eq!(simulators.model.requests()[0].end, End::Broken);
}

#[tokio::test]
async fn a_caller_that_leaves_a_stalled_model_is_noticed() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    simulators.model.program(Rule::hold("never", At::Start));
    let body = request("Hi");
    tokio::select! {
        _ = ask(&simulators, &body) => panic!("the model did not stall"),
        reached = simulators.gates.reached("never", 1, SOON) => reached.unwrap(),
    }

    let left = simulators.model.wait_until(SOON, |state| {
        (state.requests[0].end == End::Left).then_some(())
    });
    left.await.unwrap();
}
