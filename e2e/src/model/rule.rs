//! What a test programs: how the model answers.
//!
//! Plain data, the same in Rust and in the control API's JSON. The first rule that meets a request
//! decides; without one the model answers by itself ([`own_answer`]).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::transcript::Pending;

/// How much of a text the model says again.
const MAX_QUOTE: usize = 200;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Only where what the person wrote contains this.
    pub contains: Option<String>,
    /// How many answers; all without it. A round of tool calls is no answer yet.
    pub times: Option<u32>,
    pub hold: Option<Hold>,
    /// Between two pieces of a streamed answer.
    pub pace_ms: u64,
    pub then: Script,
}

/// Waits at a gate, forever if nobody opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub gate: String,
    #[serde(default)]
    pub at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// Before the first byte of the response.
    #[default]
    Start,
    /// After the first piece of a streamed answer.
    FirstToken,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Script {
    /// The model's own answer, with every mark.
    #[default]
    Own,
    /// This text, Markdown or not. `{marks}` in it becomes the marks.
    Text { text: String },
    /// Sentences up to this many characters, the marks first.
    Long { characters: usize },
    /// Each round is called and answered in turn; the text comes last.
    Tools {
        rounds: Vec<Vec<ToolCall>>,
        text: String,
    },
    /// A complete answer without a word.
    Empty,
    /// An error instead of an answer.
    Fail { status: u16 },
    /// The stream breaks off in the middle of this text.
    Break { text: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub name: String,
    pub arguments: Value,
}

/// What goes into the response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Text(String),
    Tools(Vec<ToolCall>),
    Fail(u16),
    Break(String),
}

impl Rule {
    pub fn new(then: Script) -> Self {
        Self {
            then,
            ..Self::default()
        }
    }

    pub fn text(text: &str) -> Self {
        Self::new(Script::Text {
            text: text.to_owned(),
        })
    }

    pub fn fail(status: u16) -> Self {
        Self::new(Script::Fail { status })
    }

    pub fn hold(gate: &str, at: At) -> Self {
        Self {
            hold: Some(Hold {
                gate: gate.to_owned(),
                at,
            }),
            ..Self::default()
        }
    }

    pub fn when(self, contains: &str) -> Self {
        Self {
            contains: Some(contains.to_owned()),
            ..self
        }
    }

    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    pub(crate) fn meets(&self, pending: &Pending) -> bool {
        self.times != Some(0)
            && self
                .contains
                .as_ref()
                .is_none_or(|wanted| pending.contains(wanted))
    }

    pub(crate) fn reply(&self, pending: &Pending) -> Reply {
        match &self.then {
            Script::Own => Reply::Text(own_answer(pending)),
            Script::Text { text } => Reply::Text(filled(text, pending)),
            Script::Long { characters } => Reply::Text(long_answer(pending, *characters)),
            Script::Tools { rounds, text } => match rounds.get(pending.tool_rounds) {
                Some(calls) => Reply::Tools(calls.clone()),
                None => Reply::Text(filled(text, pending)),
            },
            Script::Empty => Reply::Text(String::new()),
            Script::Fail { status } => Reply::Fail(*status),
            Script::Break { text } => Reply::Break(filled(text, pending)),
        }
    }
}

fn filled(text: &str, pending: &Pending) -> String {
    text.replace("{marks}", &pending.marks().join(" "))
}

/// A friendly answer that is the same every time and names every mark.
pub(crate) fn own_answer(pending: &Pending) -> String {
    let marks = pending.marks();
    if !marks.is_empty() {
        return format!("Got it, thank you! {}", marks.join(" "));
    }
    // OpenClaw asks by itself from time to time whether there is something to do.
    if pending.contains("HEARTBEAT_OK") {
        return "HEARTBEAT_OK".to_owned();
    }
    let said = pending.last_said();
    let lower = said.to_lowercase();
    if lower.contains("who are you") || lower.contains("what can you do") {
        return "Hello! I am your personal assistant, and I am glad you wrote. I remember what \
                matters to you, remind you in time and take things off your hands. What can I do \
                for you first?"
            .to_owned();
    }
    let first = lower
        .split(|c: char| !c.is_alphabetic())
        .next()
        .unwrap_or_default();
    if ["hello", "hi", "hey", "hallo", "hola", "bonjour"].contains(&first) {
        return "Hello! How lovely to hear from you. What can I do for you today?".to_owned();
    }
    if lower.contains("thank") {
        return "You are very welcome! I am here whenever you need me.".to_owned();
    }
    if said.is_empty() {
        return "I am here whenever you need me.".to_owned();
    }
    let quote: String = said.chars().take(MAX_QUOTE).collect();
    format!("You wrote: “{quote}”. I have made a note of it and am on it!")
}

fn long_answer(pending: &Pending, characters: usize) -> String {
    let mut text = pending.marks().join(" ");
    let mut length = text.chars().count();
    for number in 1.. {
        if length >= characters {
            break;
        }
        let before = text.len();
        let end = if number % 5 == 0 { "\n\n" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            " Sentence number {number} of this answer is a plain one.{end}"
        );
        length += text[before..].chars().count();
    }
    text.chars().take(characters).collect()
}
