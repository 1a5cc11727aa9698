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

/// What was said, as WhatsApp messages. Each carries its session and transcript id, so that it is
/// sent once; OpenClaw's ids are short and a fresh session begins anew.
pub fn drafts(read: &Read) -> Vec<Draft> {
    let parts = read.said.iter().flat_map(|said| {
        let texts = split(&to_whatsapp(&said.text), MAX_TEXT_CHARS);
        let session = read.session_no;
        texts
            .into_iter()
            .enumerate()
            .map(move |(part, text)| Draft {
                key: format!("{session}/{}/{part}", said.id),
                class: Class::Reply,
                text,
            })
    });
    parts.collect()
}
