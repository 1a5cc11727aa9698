//! From what an assistant said to the WhatsApp messages that say it.

use sqlx::PgConnection;

use crate::{
    gateway::ask::Said,
    id::SandboxId,
    outbox::{Class, Draft},
    sandbox,
    whatsapp::{
        format::to_whatsapp,
        split::{MAX_TEXT_CHARS, split},
    },
};

/// How far a conversation was read, and what the assistant said up to there.
pub struct Read {
    pub session_no: i32,
    pub old: Option<String>,
    pub new: Option<String>,
    pub said: Vec<Said>,
}

/// A cursor that moves with the end of a turn.
pub struct Moved {
    session_no: i32,
    old: Option<String>,
    new: String,
}

impl Read {
    /// What was said, as WhatsApp messages. Each carries its session and transcript id, so that it
    /// is sent once; OpenClaw's ids are short and a fresh session begins anew.
    pub fn drafts(&self, class: Class) -> Vec<Draft> {
        let parts = self.said.iter().flat_map(|said| {
            let key = format!("{}/{}", self.session_no, said.id);
            drafts(&key, class, &said.text)
        });
        parts.collect()
    }

    pub fn moved(self) -> Option<Moved> {
        Some(Moved {
            session_no: self.session_no,
            old: self.old,
            new: self.new?,
        })
    }
}

impl Moved {
    /// False when somebody else has moved it.
    pub async fn store(&self, db: &mut PgConnection, sandbox: SandboxId) -> anyhow::Result<bool> {
        let old = self.old.as_deref();
        sandbox::row::conversation::set_cursor(db, sandbox, self.session_no, old, &self.new).await
    }
}

/// One thing that was said, in as many messages as WhatsApp needs.
pub fn drafts(key: &str, class: Class, text: &str) -> Vec<Draft> {
    let texts = split(&to_whatsapp(text), MAX_TEXT_CHARS);
    let parts = texts.into_iter().enumerate();
    parts
        .map(|(part, text)| Draft {
            key: format!("{key}/{part}"),
            class,
            text,
        })
        .collect()
}
