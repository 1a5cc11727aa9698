//! From what an assistant said to what is to be sent, each with the key by which it is sent once.

use sqlx::PgConnection;

use crate::{
    copy,
    gateway::ask::Said,
    id::SandboxId,
    outbox::Class,
    sandbox,
    whatsapp::answer::{self, Part},
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
    /// What was said, in the messages that it takes. Each carries its session and transcript id, so that
    /// it is sent once; OpenClaw's ids are short and a fresh session begins anew.
    pub fn wanted(&self, class: Class) -> Vec<Wanted> {
        let parts = self.said.iter().flat_map(|said| {
            let key = format!("{}/{}", self.session_no, said.id);
            wanted(&key, class, &said.text)
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

/// One message that an assistant wants sent.
pub struct Wanted {
    pub key: String,
    pub class: Class,
    pub part: Part,
}

/// One thing that was said, in as many messages as it takes.
pub fn wanted(key: &str, class: Class, text: &str) -> Vec<Wanted> {
    let parts = answer::read(text, copy::CHOOSE).into_iter().enumerate();
    let parts = parts.map(|(at, part)| Wanted {
        key: format!("{key}/{at}"),
        class,
        part,
    });
    parts.collect()
}
