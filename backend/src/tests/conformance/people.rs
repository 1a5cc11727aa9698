//! Who writes in the conformance run, and what should come of it.

use super::{
    form::Form,
    shape::{Lack, Shape, Someone, Words},
};
use crate::{id::TenantId, whatsapp::event::InboundEvent};

/// Somebody with a conversation.
pub struct Known {
    pub form: Form,
    pub lack: Lack,
    pub number: usize,
    pub someone: Someone,
    /// Nobody's, if they are nobody.
    pub tenant: Option<TenantId>,
    /// The id of a message of theirs.
    pub said: String,
    /// And of one of their assistant's.
    pub wrote: String,
}

impl Known {
    pub fn words(&self, digest: Option<String>) -> Words {
        let number = self.number;
        let of = |text: &str| Some(text.to_owned());
        Words(vec![
            ("said", of(&self.said)),
            ("wrote", of(&self.wrote)),
            ("gone", of("wamid.from-before")),
            ("file", of("1103600000000001")),
            ("digest", digest),
            ("phone", self.someone.phone.clone()),
            ("user_id", self.someone.user_id.clone()),
            ("new_phone", Some(format!("1219{number:07}"))),
            ("new_user_id", Some(format!("US.new{number}"))),
        ])
    }

    fn is_somebody(&self) -> bool {
        self.lack != Lack::Both
    }
}

/// What comes of something, as far as anybody sees it.
#[derive(Debug, Default, PartialEq)]
pub struct Expected {
    pub event: String,
    pub outcome: String,
    pub reads: Option<String>,
    pub next: Option<String>,
    pub hears: Vec<String>,
    /// Our word for the kind of file that comes with the question.
    pub file: Option<&'static str>,
}

impl Expected {
    pub fn nothing() -> Self {
        Self::ending("Unknown", "unknown")
    }

    pub fn ending(event: &str, outcome: &str) -> Self {
        Self {
            event: event.to_owned(),
            outcome: outcome.to_owned(),
            ..Self::default()
        }
    }

    pub fn of(shape: &Shape, known: &Known) -> Self {
        if !known.is_somebody() {
            return Self::nothing();
        }
        let file = shape.file.as_ref().map(|file| match file.as_str() {
            "png" => "photo",
            "mp4" => "video",
            "ogg" => "voice message",
            "mp3" => "sound",
            "webp" => "sticker",
            _ => "document",
        });
        Self {
            reads: shape.reads.clone(),
            next: shape
                .next
                .as_ref()
                .map(|next| format!("{next}\n\nAnd now?")),
            hears: shape.hears.iter().cloned().collect(),
            file,
            ..Self::ending(&shape.event, shape.outcome())
        }
    }

    pub fn of_system(shape: &Shape, known: &Known) -> Self {
        let by_user_id = shape.field.is_some() && known.someone.user_id.is_none();
        // The older ones say in their own words who it was.
        let says_who =
            shape.item["system"]["customer"].is_string() && known.someone.phone.is_some();
        match known.is_somebody() || says_who {
            true if shape.event == "Rekey" && !by_user_id => Self::ending("Rekey", "rekeyed"),
            true if shape.event == "Call" => Self::ending("Call", "call"),
            _ => Self::nothing(),
        }
    }
}

impl Shape {
    pub fn outcome(&self) -> &str {
        self.outcome.as_deref().unwrap_or("waiting")
    }
}

/// What the table calls an event.
pub fn named(event: &InboundEvent) -> String {
    match event {
        InboundEvent::Message(message) => format!("{:?}", message.content),
        InboundEvent::Status(status) => format!("Status({:?})", status.state),
        InboundEvent::Rekey(_) => "Rekey".to_owned(),
        InboundEvent::Call(_) => "Call".to_owned(),
        InboundEvent::Unknown => "Unknown".to_owned(),
    }
}
