//! What of a request passes.

use serde_json::{Value, json};

use crate::broker::request::{Rebuilt, rebuild};

fn rebuilt(request: Value) -> Result<(Value, Rebuilt), String> {
    let rebuilt = rebuild(request.to_string().as_bytes(), "m")?;
    Ok((serde_json::from_slice(&rebuilt.body).unwrap(), rebuilt))
}

#[test]
fn everything_that_is_allowed_passes_unchanged() {
    let request = json!({
        "model": "m", "stream": true, "stream_options": {"include_usage": true}, "n": 1,
        "temperature": 0.5, "top_p": 0.9, "stop": ["a"], "seed": 7, "max_tokens": 100,
        "parallel_tool_calls": false, "reasoning_effort": "low", "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"b": 1, "a": 2}}},
        "tools": [{"type": "function", "function": {
            "name": "read", "description": "d", "strict": true,
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        }}],
        "messages": [
            {"role": "developer", "content": "d"},
            {"role": "user", "name": "u", "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
            ]},
            {"role": "assistant", "content": null, "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}],
             "tool_calls": [{"id": "1", "type": "function", "function": {"name": "read", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "result"},
        ],
    });
    assert_eq!(rebuilt(request.clone()).unwrap().0, request);
}

#[test]
fn unknown_fields_are_left_out_at_every_depth() {
    let (body, _) = rebuilt(json!({
        "model": "m", "max_tokens": 1, "n": 5, "provider": {"order": ["x"]}, "plugins": [{"id": "web"}],
        "transforms": ["middle-out"], "models": ["dear"], "route": "fallback", "store": true,
        "tools": [{"type": "function", "x": 1, "function": {"name": "f", "x": 1}}],
        "messages": [{"role": "user", "x": 1, "content": [{"type": "text", "text": "t", "x": 1}]}],
    }))
    .unwrap();
    let expected = json!({
        "model": "m", "max_tokens": 1, "n": 1, "stream": false,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "t"}]}],
    });
    assert_eq!(body, expected);
}

#[test]
fn values_that_are_not_allowed_are_refused() {
    let message = json!([{"role": "user", "content": "t"}]);
    let part =
        |part: Value| json!({"model": "m", "messages": [{"role": "user", "content": [part]}]});
    for request in [
        json!({"model": "other", "messages": message}),
        json!({"messages": message}),
        json!({"model": "m", "messages": [{"role": "oracle", "content": "t"}]}),
        json!({"model": "m", "messages": message, "tools": [{"type": "openrouter:web_search"}]}),
        json!({"model": "m", "messages": message, "max_tokens": -1}),
        part(json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
        part(json!({"type": "image_url", "image_url": {"url": " data:image/png;base64,AA=="}})),
        part(json!({"type": "file", "file": {"file_data": "https://example.com/a.pdf"}})),
        json!([]),
    ] {
        assert!(rebuilt(request.clone()).is_err(), "{request}");
    }
}

#[test]
fn output_is_limited_whether_asked_for_or_not() {
    for (asked, output) in [
        (json!({}), 8_000),
        (json!({"max_tokens": 100}), 100),
        (json!({"max_tokens": 9_000}), 8_000),
        (
            json!({"max_tokens": 5, "max_completion_tokens": 1_000_000}),
            8_000,
        ),
    ] {
        let mut request = json!({"model": "m", "messages": []});
        request
            .as_object_mut()
            .unwrap()
            .extend(asked.as_object().unwrap().clone());
        let (body, rebuilt) = rebuilt(request).unwrap();
        assert_eq!(rebuilt.output_tokens, output);
        let sent = body["max_completion_tokens"]
            .as_i64()
            .or(body["max_tokens"].as_i64());
        assert_eq!(sent, Some(output));
    }
}

#[test]
fn an_image_is_not_estimated_by_its_bytes() {
    let url = format!("data:image/png;base64,{}", "A".repeat(400_000));
    let image = json!({"type": "image_url", "image_url": {"url": url}});
    let request = json!({"model": "m", "messages": [{"role": "user", "content": [image]}]});
    let tokens = rebuilt(request).unwrap().1.input_tokens;
    assert!((5_000..5_100).contains(&tokens), "{tokens}");
}
