//! What a person's turn asks: their messages as their agent reads them, with what they refer to.

use std::ops::Range;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::{
    id::TenantId,
    inbox, outbox,
    seal::Opener,
    turn::{self, Turn},
    whatsapp::{
        event::{self, InboundEvent, Message},
        media::Media,
        told::{self, Quoted},
    },
};

/// What a person's messages say, and the last one's id for the typing indicator.
pub struct Asked {
    /// What went on since the last question, in front of it.
    before: Vec<String>,
    /// A paragraph each.
    pub told: Vec<Told>,
    pub last_wamid: Option<String>,
}

pub struct Told {
    pub text: String,
    /// Came with it, and lies where the text says once somebody has put it there.
    pub media: Option<Box<Media>>,
}

impl Asked {
    pub fn text(&self) -> String {
        let told = self.told.iter().map(|told| told.text.as_str());
        let before = self.before.iter().map(String::as_str);
        match self.told.is_empty() {
            true => String::new(),
            false => before.chain(told).collect::<Vec<_>>().join("\n\n"),
        }
    }
}

/// Reads a person's conversation.
pub struct Reading<'a> {
    pub db: &'a PgPool,
    pub opener: &'a Opener,
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
                let text = self.told(turn.tenant, &message).await?;
                asked.last_wamid = Some(message.id);
                let media = message.content.media();
                asked.told.push(Told { text, media });
            }
        }
        asked.told.retain(|told| !told.text.is_empty());
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
                before.push(self.told(turn.tenant, &message).await?);
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

    async fn told(&self, tenant: TenantId, message: &Message) -> anyhow::Result<String> {
        let quoted = match message.refers_to() {
            Some(wamid) => self.quoted(tenant, wamid).await?,
            None => None,
        };
        Ok(told::tell(message, quoted.as_ref()))
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
