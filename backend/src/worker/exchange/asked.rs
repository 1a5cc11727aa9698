//! What a person's turn asks: their messages as their agent reads them, with what they refer to.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::introduce::plain;
use crate::{
    id::TenantId,
    inbox, outbox,
    seal::Opener,
    tenant::address::AddressBook,
    turn::{self, Turn},
    whatsapp::{
        event::{self, InboundEvent, Message},
        media::Media,
        told::{self, Quoted},
    },
};

/// In front of what is asked in a group.
const IN_GROUP: &str = "(This is a group, and everybody in it reads your answer. Each message stands below a line of ours, one JSON object: `name` is what that member calls themselves in WhatsApp, `member` what tells them from others of that name. What they wrote begins with `> ` and is theirs alone.)";
/// Our word in a group, and nothing after it.
const ONLY_CALLED: &str = "[Only called you]";

/// What a person's messages say, and the last one's id for the typing indicator.
pub struct Asked {
    /// What went on since the last question, in front of it.
    before: Vec<String>,
    /// A paragraph each.
    pub told: Vec<Told>,
    pub last_wamid: Option<String>,
}

pub struct Told {
    /// Who of a group wrote it, as one line.
    speaker: Option<String>,
    pub text: String,
    /// Came with it, and lies where the text says once somebody has put it there.
    pub media: Option<Box<Media>>,
}

impl Asked {
    pub fn text(&self) -> String {
        let told = self.told.iter().map(Told::paragraph);
        let before = self.before.iter().cloned();
        let in_group = self.is_in_group().then(|| IN_GROUP.to_owned());
        match self.told.is_empty() {
            true => String::new(),
            false => {
                let all = in_group.into_iter().chain(before).chain(told);
                all.collect::<Vec<_>>().join("\n\n")
            }
        }
    }

    /// Whether several people hear the answer.
    pub fn is_in_group(&self) -> bool {
        self.told.iter().any(|told| told.speaker.is_some())
    }
}

impl Told {
    /// In a group each line of theirs is marked, so that none can look like the one that says who speaks.
    fn paragraph(&self) -> String {
        let Some(speaker) = &self.speaker else {
            return self.text.clone();
        };
        let text = match self.text.is_empty() {
            true => ONLY_CALLED,
            false => &self.text,
        };
        let breaks = [
            '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}',
        ];
        let lines = text.split(breaks).map(|line| format!("\n> {line}"));
        format!("{speaker}{}", lines.collect::<String>())
    }
}

/// Reads a person's conversation.
pub struct Reading<'a> {
    pub db: &'a PgPool,
    pub opener: &'a Opener,
    pub book: &'a AddressBook,
}

impl Reading<'_> {
    /// Several messages are one question, each a paragraph. In front stands what went on since the
    /// last question and was no part of it: what the agent said unasked, what the person took back.
    pub async fn asked(&self, turn: &Turn) -> anyhow::Result<Asked> {
        let mut asked = Asked {
            before: Vec::new(),
            told: Vec::new(),
            last_wamid: None,
        };
        for body in inbox::of_turn(self.db, turn.tenant, turn.id).await? {
            if let Some(message) = self.message(&body)? {
                let mut told = self.told(turn.tenant, &message).await?;
                asked.last_wamid = Some(message.id);
                told.media = message.content.media();
                asked.told.push(told);
            }
        }
        // In a group who only calls us says something, too.
        let says_something = |told: &Told| told.speaker.is_some() || !told.text.is_empty();
        asked.told.retain(says_something);
        if !asked.told.is_empty() {
            asked.before = self.since_the_last(turn).await?;
        }
        Ok(asked)
    }

    async fn since_the_last(&self, turn: &Turn) -> anyhow::Result<Vec<String>> {
        let since = turn::last_message_before(self.db, turn).await?..turn.created_at;
        let mut before = Vec::new();
        let mut said = String::new();
        for text in self.said_unasked(turn, since).await? {
            for line in text.lines() {
                said.push_str("> ");
                said.push_str(line);
                said.push('\n');
            }
        }
        if !said.is_empty() {
            before.push(format!(
                "(Since my last message you wrote to me, unasked:\n{said})"
            ));
        }
        for body in inbox::noted(self.db, turn.tenant, turn.id).await? {
            if let Some(message) = self.message(&body)? {
                before.push(self.told(turn.tenant, &message).await?.paragraph());
            }
        }
        Ok(before)
    }

    /// What the agent said of its own accord in this time.
    pub async fn said_unasked(
        &self,
        turn: &Turn,
        during: Range<DateTime<Utc>>,
    ) -> anyhow::Result<Vec<String>> {
        let bodies = outbox::unasked(self.db, turn.tenant, during).await?;
        bodies
            .iter()
            .map(|body| Ok(body.open(self.opener)?.told()))
            .collect()
    }

    fn message(&self, body: &[u8]) -> anyhow::Result<Option<Message>> {
        let body = self.opener.open(body)?;
        Ok(match event::parse("message", &body) {
            InboundEvent::Message(message) => Some(message),
            _ => None,
        })
    }

    async fn told(&self, tenant: TenantId, message: &Message) -> anyhow::Result<Told> {
        let quoted = match message.refers_to() {
            Some(wamid) => self.quoted(tenant, wamid).await?,
            None => None,
        };
        Ok(Told {
            speaker: self.speaker(message),
            text: told::tell(message, quoted.as_ref()),
            media: None,
        })
    }

    /// Whatever a member calls themselves, it is one value of one object on one line.
    fn speaker(&self, message: &Message) -> Option<String> {
        let group = message.sender.group.as_ref()?;
        let name = message.name.as_deref().map(plain);
        let name = name.filter(|name| !name.is_empty());
        let member = self.book.tag(&message.sender);
        Some(json!({ "group": group, "member": member, "name": name }).to_string())
    }

    /// A message of this conversation, by its id. `None` when it is older than what we keep.
    async fn quoted(&self, tenant: TenantId, wamid: &str) -> anyhow::Result<Option<Quoted>> {
        if let Some(body) = outbox::by_wamid(self.db, tenant, wamid).await? {
            let text = body.open(self.opener)?.told();
            return Ok(Some(Quoted { ours: true, text }));
        }
        let Some(body) = inbox::by_wamid(self.db, tenant, wamid).await? else {
            return Ok(None);
        };
        let theirs = self.message(&body)?.map(|message| Quoted {
            ours: false,
            text: told::tell(&message, None),
        });
        Ok(theirs)
    }
}
