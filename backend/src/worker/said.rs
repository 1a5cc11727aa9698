//! From what an assistant said to the WhatsApp messages that say it.

use crate::{
    gateway::ask::Said,
    outbox::{Class, Draft},
    whatsapp::{
        format::to_whatsapp,
        split::{MAX_TEXT_CHARS, split},
    },
};

/// How far the transcript was read, and what the assistant said up to there.
pub struct Read {
    pub session_no: i32,
    pub old: Option<String>,
    pub new: Option<String>,
    pub said: Vec<Said>,
}

impl Read {
    pub fn nothing() -> Self {
        Self {
            session_no: 0,
            old: None,
            new: None,
            said: Vec::new(),
        }
    }
}

/// What was said, as WhatsApp messages. Each carries its transcript id, so that it is sent once.
pub fn drafts(said: &[Said]) -> Vec<Draft> {
    let parts = said.iter().flat_map(|said| {
        let texts = split(&to_whatsapp(&said.text), MAX_TEXT_CHARS);
        texts.into_iter().enumerate().map(|(part, text)| Draft {
            key: format!("{}/{part}", said.id),
            class: Class::Reply,
            text,
        })
    });
    parts.collect()
}
