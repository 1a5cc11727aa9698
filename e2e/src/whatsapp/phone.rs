//! Phones in somebody's hands: what they write is kept until it is taken, and what they are sent
//! is read when they look.
//!
//! Without a hand, a simulated phone reads by itself. As soon as somebody writes or looks through
//! it (the demonstration page), "read" is reported only for what was really on a screen.

use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Whatsapp,
    fault::Receipt,
    person::Person,
    receipt::{self, Sent},
    state::{Side, State, Ticks},
    webhook::{self, Message},
};

/// For so long Meta posts a webhook again.
const META_RETRIES_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A phone on the demonstration page.
#[derive(Clone, Debug)]
pub struct Phone {
    pub person: Person,
    /// Whether somebody holds it; then it reads nothing by itself.
    pub in_hand: bool,
}

impl Whatsapp {
    /// Lays a phone ready for somebody who has not written yet. False if the number is taken.
    pub fn add_phone(&self, person: &Person) -> bool {
        let mut added = false;
        self.change(|state| added = state.add_phone(person));
        added
    }

    /// Writes from a phone in hand and returns the message's id at once. The webhook is posted
    /// until it is taken. With the same id again nothing happens.
    pub fn write(&self, person: &Person, text: &str, id: Uuid) -> String {
        self.change(|state| state.take_in_hand(person));
        let mut message = Message::text(person, text);
        message.wamid = webhook::wamid_of(id);
        let known = |state: &State| state.bubbles.iter().any(|one| one.wamid == message.wamid);
        if self.read(known) {
            return message.wamid;
        }
        let body = self.body(std::slice::from_ref(&message));
        self.inner.hear(&body);
        let inner = self.inner.clone();
        self.inner.spawn(async move {
            let (delivery, mut status) = webhook::deliver(&inner, &body).await;
            if status != Some(200) {
                status = webhook::retry(&inner, delivery, &body, META_RETRIES_FOR).await;
            }
            inner.note_answer(&body, status);
        });
        message.wamid
    }

    /// Looks at the phone: what was delivered is read now, and the product is told.
    pub fn look(&self, person: &Person) {
        let mut read = Vec::new();
        self.change(|state| {
            state.take_in_hand(person);
            read = state.read_delivered(person);
        });
        for sent in read {
            receipt::send_all(&self.inner, sent, vec![Receipt::of(Ticks::Read)]);
        }
    }

    /// A person rings the number; nobody answers.
    pub async fn ring(&self, person: &Person) -> Option<u16> {
        self.change(|state| state.open_window(person));
        let body = webhook::call_body(&self.inner.settings, person);
        self.post(&body).await
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.inner.state.subscribe()
    }
}

impl State {
    /// Everybody with a phone on the page: those laid ready first, then whoever wrote without one.
    pub(crate) fn everybody(&self) -> Vec<Person> {
        let named = |phone: &Phone| {
            let known = self.people.iter().find(|known| known.is(&phone.person));
            known.unwrap_or(&phone.person).clone()
        };
        let mut all: Vec<Person> = self.phones.iter().map(named).collect();
        for person in &self.people {
            if !all.iter().any(|known| known.is(person)) {
                all.push(person.clone());
            }
        }
        all
    }

    pub(crate) fn is_in_hand(&self, person: &Person) -> bool {
        let mut held = self.phones.iter().filter(|phone| phone.in_hand);
        held.any(|phone| phone.person.is(person))
    }

    fn add_phone(&mut self, person: &Person) -> bool {
        let taken = self.everybody().iter().any(|known| known.is(person));
        if !taken {
            self.phones.push(Phone {
                person: person.clone(),
                in_hand: false,
            });
        }
        !taken
    }

    fn take_in_hand(&mut self, person: &Person) {
        match self.phones.iter_mut().find(|phone| phone.person.is(person)) {
            Some(phone) => phone.in_hand = true,
            None => self.phones.push(Phone {
                person: person.clone(),
                in_hand: true,
            }),
        }
    }

    /// Turns what was delivered to a person read, and says to whom that must be reported.
    fn read_delivered(&mut self, person: &Person) -> Vec<Sent> {
        let calls = &self.calls;
        let delivered = self.bubbles.iter_mut().filter(|bubble| {
            bubble.side == Side::Assistant
                && bubble.ticks == Ticks::Delivered
                && bubble.person.is(person)
        });
        delivered
            .map(|bubble| {
                bubble.ticks = Ticks::Read;
                let call = calls
                    .iter()
                    .find(|call| call.wamid.as_ref() == Some(&bubble.wamid));
                // Receipts name a person by the address that was written to.
                let by_user_id = call.is_some_and(|call| call.body["to"].is_null());
                Sent {
                    person: if by_user_id {
                        bubble.person.without_phone()
                    } else {
                        bubble.person.clone()
                    },
                    wamid: bubble.wamid.clone(),
                    callback: bubble.callback.clone(),
                }
            })
            .collect()
    }
}
