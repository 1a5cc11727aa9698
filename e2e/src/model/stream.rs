//! The shapes of a chat completion: one JSON object, or server-sent events that add up to it.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::rule::{Reply, ToolCall};

/// OpenRouter sends such comments before the first word; whoever reads a stream must skip them.
const KEEP_ALIVE: &str = ": OPENROUTER PROCESSING\n\n";

/// Who a response is from and how it is counted.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub id: String,
    pub model: String,
    pub created: i64,
    pub prompt_tokens: usize,
    /// `stream_options.include_usage`
    pub with_usage: bool,
}

impl Frame {
    /// The whole answer at once.
    pub fn completion(&self, reply: &Reply) -> Value {
        let (message, finish) = match reply {
            Reply::Tools(calls) => {
                let calls: Vec<Value> = calls.iter().enumerate().map(|at| self.call(at)).collect();
                let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
                (message, "tool_calls")
            }
            _ => (
                json!({"role": "assistant", "content": text_of(reply)}),
                "stop",
            ),
        };
        json!({
            "id": self.id, "object": "chat.completion",
            "created": self.created, "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": self.usage(reply),
        })
    }

    /// The same as events, to be sent one after the other. A broken one has no end.
    pub fn events(&self, reply: &Reply) -> Vec<Bytes> {
        let role = self.chunk(json!({"role": "assistant", "content": ""}), None);
        let mut events = vec![Bytes::from([KEEP_ALIVE.as_bytes(), &role].concat())];
        match reply {
            Reply::Tools(calls) => {
                for at in calls.iter().enumerate() {
                    let mut call = self.call(at);
                    call["index"] = json!(at.0);
                    events.push(self.chunk(json!({"tool_calls": [call]}), None));
                }
                events.push(self.chunk(json!({}), Some("tool_calls")));
            }
            Reply::Break(text) => {
                let mut pieces = pieces(text);
                pieces.truncate(pieces.len().div_ceil(2));
                events.extend(pieces.iter().map(|piece| self.text(piece)));
                return events;
            }
            _ => {
                events.extend(pieces(text_of(reply)).iter().map(|piece| self.text(piece)));
                events.push(self.chunk(json!({}), Some("stop")));
            }
        }
        if self.with_usage {
            let mut last = self.envelope();
            last["choices"] = json!([]);
            last["usage"] = self.usage(reply);
            events.push(event(&last.to_string()));
        }
        events.push(event("[DONE]"));
        events
    }

    fn text(&self, piece: &str) -> Bytes {
        self.chunk(json!({"content": piece}), None)
    }

    fn chunk(&self, delta: Value, finish: Option<&str>) -> Bytes {
        let mut chunk = self.envelope();
        chunk["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        event(&chunk.to_string())
    }

    fn envelope(&self) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk",
            "created": self.created, "model": self.model,
        })
    }

    fn call(&self, (place, call): (usize, &ToolCall)) -> Value {
        json!({
            "id": format!("call_{}_{place}", self.id),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments.to_string()},
        })
    }

    fn usage(&self, reply: &Reply) -> Value {
        let completion = match reply {
            Reply::Tools(calls) => calls
                .iter()
                .map(|call| call.arguments.to_string().len())
                .sum(),
            _ => text_of(reply).len(),
        } / 4
            + 1;
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        })
    }
}

fn text_of(reply: &Reply) -> &str {
    match reply {
        Reply::Text(text) | Reply::Break(text) => text,
        Reply::Tools(_) | Reply::Fail(_) => "",
    }
}

/// Words, with the space after them.
fn pieces(text: &str) -> Vec<&str> {
    text.split_inclusive(' ').collect()
}

fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}
