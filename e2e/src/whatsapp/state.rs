//! Everything the simulated WhatsApp knows: who wrote what, what was sent, what people see.
//!
//! One value behind one lock, so that what a test reads belongs together. Only methods in this file
//! change it; they are synchronous and do no I/O.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    account::Account,
    fault::Program,
    list::Keeping,
    media::Kept,
    outgoing::Shown,
    person::{Person, is_user_id},
    phone::Phone,
    upload::Uploaded,
};

#[derive(Debug, Default)]
pub struct State {
    /// Every call of the product, in order of arrival.
    pub calls: Vec<Call>,
    /// Every message between a person and the product, in the order in which it was taken.
    pub bubbles: Vec<Bubble>,
    /// Every webhook posted to the product.
    pub deliveries: Vec<Delivery>,
    /// Every time the product showed that it was typing.
    pub typing: Vec<Typing>,
    /// Everybody who ever wrote, the latest last.
    pub people: Vec<Person>,
    /// The phones on the demonstration page.
    pub phones: Vec<Phone>,
    /// Files that can be fetched.
    pub media: Vec<Kept>,
    /// Files that the product uploaded.
    pub uploads: Vec<Uploaded>,
    /// Addresses that cannot write to the number any more.
    pub blocked: Vec<String>,
    /// What Kapso was told to post, and where.
    pub webhooks: Vec<Value>,
    /// What Kapso lists.
    pub keeping: Keeping,
    /// What Meta tells about us.
    pub account: Account,
    pub(crate) program: Program,
}

/// One call of the product to Graph.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    pub number: usize,
    pub at: DateTime<Utc>,
    /// The body as sent; a string if it is not JSON.
    pub body: Value,
    pub kind: CallKind,
    pub person: Option<Person>,
    pub text: Option<String>,
    /// `biz_opaque_callback_data`.
    pub callback: Option<String>,
    /// Whether it had its effect, whatever the caller came to know of it.
    pub taken: bool,
    /// The id of the message that it made, or that it marked.
    pub wamid: Option<String>,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    Message,
    Mark,
    /// Not a request that Graph accepts.
    Invalid,
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Open,
    Answered(u16),
    /// The connection was cut.
    Cut,
}

/// A message as the person sees it on the screen.
#[derive(Clone, Debug, Serialize)]
pub struct Bubble {
    pub side: Side,
    pub person: Person,
    pub wamid: String,
    pub text: String,
    pub at: DateTime<Utc>,
    /// How far it came. On the person's own messages: stored by the product, read by the product.
    pub ticks: Ticks,
    pub callback: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Person,
    Assistant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ticks {
    None,
    Sent,
    Delivered,
    Read,
    /// Never reached the person.
    Failed,
}

/// One spell of "typing…".
#[derive(Clone, Debug, Serialize)]
pub struct Typing {
    pub person: Person,
    pub since: DateTime<Utc>,
    /// Moved forward to the moment at which a message ended it.
    pub until: DateTime<Utc>,
}

/// One webhook, with every attempt to deliver it.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    pub number: usize,
    pub body: String,
    /// The ids of the messages in it.
    pub tells: Vec<String>,
    pub attempts: Vec<Attempt>,
    /// Whether it is posted again as long as it is not taken.
    pub retrying: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub at: DateTime<Utc>,
    pub took_ms: u64,
    /// Absent if there was no answer.
    pub status: Option<u16>,
}

impl State {
    /// The whole conversation with a person, both sides.
    pub fn conversation<'a>(&'a self, person: &'a Person) -> impl Iterator<Item = &'a Bubble> {
        self.bubbles
            .iter()
            .filter(move |bubble| bubble.person.is(person))
    }

    /// What reached the person from us, in order; a message sent twice is here twice.
    pub fn chat<'a>(&'a self, person: &'a Person) -> impl Iterator<Item = &'a Bubble> {
        self.conversation(person)
            .filter(|bubble| bubble.side == Side::Assistant && bubble.ticks != Ticks::Failed)
    }

    pub fn is_typing(&self, person: &Person) -> bool {
        let now = Utc::now();
        self.typing
            .iter()
            .any(|spell| spell.person.is(person) && spell.until > now)
    }

    /// Whoever answers to a phone number or user id today.
    pub fn person_at(&self, address: &str) -> Person {
        let known = self.people.iter().rev().find(|person| {
            if is_user_id(address) {
                person.user_id.as_deref() == Some(address)
            } else {
                person.is(&Person::at(address)) && person.phone.is_some()
            }
        });
        known.cloned().unwrap_or_else(|| Person::at(address))
    }

    pub(crate) fn begin_call(&mut self, call: Call) -> usize {
        let number = self.calls.len();
        self.calls.push(Call { number, ..call });
        number
    }

    pub(crate) fn end_call(&mut self, number: usize, end: End) {
        self.calls[number].end = end;
    }

    /// A person wrote or rang: they may be sent anything for a day.
    pub(crate) fn open_window(&mut self, person: &Person) {
        self.program
            .closed_windows
            .retain(|closed| !closed.is(person));
    }

    /// A person wrote. The same message again changes nothing.
    pub(crate) fn hear(&mut self, person: Person, wamid: String, text: String) {
        self.open_window(&person);
        self.remember(&person);
        if !self.bubbles.iter().any(|bubble| bubble.wamid == wamid) {
            self.bubbles.push(Bubble {
                side: Side::Person,
                person,
                wamid,
                text,
                at: Utc::now(),
                ticks: Ticks::Sent,
                callback: None,
            });
        }
    }

    /// Whether there is what a message refers to.
    pub(crate) fn has(&self, shown: &Shown) -> bool {
        let is_there = |wamid: &String| self.bubbles.iter().any(|bubble| bubble.wamid == *wamid);
        let has_file = |id: &String| self.uploads.iter().any(|upload| upload.id == *id);
        shown.to.as_ref().is_none_or(is_there) && shown.media.as_ref().is_none_or(has_file)
    }

    /// A message is on its way to the person: the call is taken and typing ends.
    pub(crate) fn take_message(&mut self, call: usize, wamid: &str, reaches: Ticks) {
        let now = Utc::now();
        let call = &mut self.calls[call];
        call.taken = true;
        call.wamid = Some(wamid.to_owned());
        let Some(person) = call.person.clone() else {
            return;
        };
        self.bubbles.push(Bubble {
            side: Side::Assistant,
            person: person.clone(),
            wamid: wamid.to_owned(),
            text: call.text.clone().unwrap_or_default(),
            at: now,
            ticks: reaches,
            callback: call.callback.clone(),
        });
        for spell in &mut self.typing {
            if spell.person.is(&person) && spell.until > now {
                spell.until = now;
            }
        }
    }

    /// Marks a message and all before it read. False if there is no such message.
    pub(crate) fn take_mark(
        &mut self,
        call: usize,
        wamid: &str,
        typing: Option<TimeDelta>,
    ) -> bool {
        let marked = self
            .bubbles
            .iter()
            .position(|bubble| bubble.wamid == wamid && bubble.side == Side::Person);
        let Some(marked) = marked else { return false };
        let person = self.bubbles[marked].person.clone();
        for bubble in &mut self.bubbles[..=marked] {
            if bubble.side == Side::Person && bubble.person.is(&person) {
                bubble.ticks = Ticks::Read;
            }
        }
        if let Some(lasts) = typing {
            let since = Utc::now();
            self.typing.push(Typing {
                person: person.clone(),
                since,
                until: since + lasts,
            });
        }
        let call = &mut self.calls[call];
        call.taken = true;
        call.wamid = Some(wamid.to_owned());
        call.person = Some(person);
        true
    }

    /// Ticks only ever go up.
    pub(crate) fn tick(&mut self, wamid: &str, ticks: Ticks) {
        for bubble in self
            .bubbles
            .iter_mut()
            .filter(|bubble| bubble.wamid == wamid)
        {
            bubble.ticks = bubble.ticks.max(ticks);
        }
    }

    pub(crate) fn begin_delivery(&mut self, body: String, tells: Vec<String>) -> usize {
        let number = self.deliveries.len();
        self.deliveries.push(Delivery {
            number,
            body,
            tells,
            attempts: Vec::new(),
            retrying: false,
        });
        number
    }

    fn remember(&mut self, person: &Person) {
        // What a webhook leaves out is not forgotten.
        let before = self.people.iter().rposition(|known| known.is(person));
        let before = before.map(|at| self.people.remove(at)).unwrap_or_default();
        self.people.push(Person {
            phone: person.phone.clone().or(before.phone),
            user_id: person.user_id.clone().or(before.user_id),
            name: person.name.clone().or(before.name),
        });
    }
}
