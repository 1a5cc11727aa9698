//! What a model can know from one request: what people wrote and has not been answered.
//!
//! OpenClaw merges and queues messages, puts context around them and resumes turns that were cut
//! off, so only `user` rows count, and everything is read leniently. Pure.

use serde_json::Value;

/// How tests mark messages they want to see answered: `#mark-` and letters, digits, `-` or `_`.
pub const MARK: &str = "#mark-";

/// OpenClaw ends every request with a `user` row of its own, between these lines, even after the
/// results of tools. Nobody said it.
const CONTEXT_BEGIN: &str = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>";
const CONTEXT_END: &str = "<<<END_OPENCLAW_INTERNAL_CONTEXT>>>";

/// What OpenClaw adds below the first text of a session.
const RUNTIME: &str = "\n\nRuntime: agent=";

/// How OpenClaw begins a turn again that a restart cut off.
const INTERRUPTED: &str = "previous turn was interrupted";

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The texts of the user rows since the last complete answer, oldest first.
    pub texts: Vec<String>,
    /// How many rounds of tool calls have been answered since the last of them.
    pub tool_rounds: usize,
}

impl Pending {
    pub fn read(body: &Value) -> Self {
        let messages = body["messages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut start = last_answer(messages);
        // A turn that was cut off may have left half an answer, which answers nothing.
        let mut texts = messages[start..].iter().filter_map(said);
        if start > 0 && texts.any(|text| text.contains(INTERRUPTED)) {
            let before = last_answer(&messages[..start - 1]);
            let asked: Vec<_> = messages[before..start].iter().filter_map(said).collect();
            let answer = text(&messages[start - 1]);
            if marks_in(&asked)
                .iter()
                .any(|mark| !answer.contains(mark.as_str()))
            {
                start = before;
            }
        }
        let last_user = messages.iter().rposition(|message| said(message).is_some());
        let after = &messages[last_user.map_or(messages.len(), |at| at + 1)..];
        Self {
            texts: messages[start..].iter().filter_map(said).collect(),
            tool_rounds: after.iter().filter(|message| calls_tools(message)).count(),
        }
    }

    pub fn contains(&self, text: &str) -> bool {
        self.texts.iter().any(|pending| pending.contains(text))
    }

    /// The last thing a person wrote, without what was put around it.
    pub fn last_said(&self) -> &str {
        let text = self.texts.last().map_or("", String::as_str);
        let text = text.split(RUNTIME).next().unwrap_or(text);
        // "[Fri 2026-11-20 23:44 UTC] Hello"
        let text = match text
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
        {
            Some((_, said)) => said,
            None => text,
        };
        text.trim()
    }

    /// Every mark, each once, in the order written.
    pub fn marks(&self) -> Vec<String> {
        marks_in(&self.texts)
    }
}

fn marks_in(texts: &[String]) -> Vec<String> {
    let mut marks = Vec::new();
    for text in texts {
        for (at, _) in text.match_indices(MARK) {
            let name = &text[at + MARK.len()..];
            let end = name
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
                .unwrap_or(name.len());
            let mark = format!("{MARK}{}", name[..end].trim_end_matches(['-', '_']));
            if mark.len() > MARK.len() && !marks.contains(&mark) {
                marks.push(mark);
            }
        }
    }
    marks
}

/// The place after the last assistant row that says something and calls no tool.
fn last_answer(messages: &[Value]) -> usize {
    messages
        .iter()
        .rposition(|message| {
            message["role"] == "assistant" && !calls_tools(message) && !text(message).is_empty()
        })
        .map_or(0, |at| at + 1)
}

fn calls_tools(message: &Value) -> bool {
    message["tool_calls"]
        .as_array()
        .is_some_and(|calls| !calls.is_empty())
}

/// What a person says in a row, if it is theirs.
fn said(message: &Value) -> Option<String> {
    let mut text = text(message);
    while let Some(begin) = text.find(CONTEXT_BEGIN) {
        let end = text[begin..]
            .find(CONTEXT_END)
            .map(|at| begin + at + CONTEXT_END.len());
        text.replace_range(begin..end.unwrap_or(text.len()), "");
    }
    (message["role"] == "user" && !text.trim().is_empty()).then_some(text)
}

/// The content is a string or a list of parts.
fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn marks(messages: Value) -> Vec<String> {
        Pending::read(&json!({"messages": messages})).marks()
    }

    #[test]
    fn marks_since_the_last_answer_are_pending() {
        let seen = marks(json!([
            {"role": "system", "content": "#mark-system"},
            {"role": "user", "content": "#mark-a"},
            {"role": "assistant", "content": "Done: #mark-a"},
            {"role": "user", "content": [{"type": "text", "text": "one #mark-b."}]},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "#mark-tool"},
            {"role": "user", "content": "two #mark-c_1, again #mark-b"},
        ]));
        assert_eq!(seen, ["#mark-b", "#mark-c_1"]);
    }

    #[test]
    fn half_an_answer_before_an_interruption_answers_nothing() {
        let seen = marks(json!([
            {"role": "user", "content": "#mark-a"},
            {"role": "assistant", "content": "All of it: #mark-a"},
            {"role": "user", "content": "#mark-b"},
            {"role": "assistant", "content": "Let me"},
            {"role": "user", "content": "[System] Your previous turn was interrupted by a restart"},
        ]));
        assert_eq!(seen, ["#mark-b"]);
    }

    #[test]
    fn the_whole_answer_before_an_interruption_stays_an_answer() {
        let seen = marks(json!([
            {"role": "user", "content": "#mark-a"},
            {"role": "assistant", "content": "All of it: #mark-a"},
            {"role": "user", "content": "#mark-b"},
            {"role": "user", "content": "[System] Your previous turn was interrupted by a restart"},
        ]));
        assert_eq!(seen, ["#mark-b"]);
    }

    #[test]
    fn what_openclaw_puts_around_a_text_is_not_the_persons() {
        let context = format!("{CONTEXT_BEGIN}\nActive exec sessions: none\n{CONTEXT_END}");
        let pending = Pending::read(&json!({"messages": [
            {"role": "user", "content": "[Fri 12:00 UTC] Hi\nthere\n\nRuntime: agent=main | os=Linux"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "ok"},
            {"role": "user", "content": [{"type": "text", "text": context}]},
        ]}));
        assert_eq!(pending.last_said(), "Hi\nthere");
        assert_eq!((pending.texts.len(), pending.tool_rounds), (1, 1));
    }
}
