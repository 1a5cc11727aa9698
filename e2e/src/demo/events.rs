//! `GET /events`: everything that people would see on their phones, as it changes.
//!
//! Server-sent events, each with people and messages that are new or different. The first one,
//! `hello`, has all of them and says which run of the simulator this is: after a restart the page
//! knows that what it showed is gone.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    extract::State as Extract,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    Person,
    control::Steering,
    whatsapp::{Bubble, Side, State, Ticks},
};

/// How soon a browser comes back after a lost connection.
const COME_BACK: Duration = Duration::from_secs(1);

/// One browser's stream.
struct Viewer {
    watcher: watch::Receiver<State>,
    /// By key or id: what the browser was told last.
    told: HashMap<String, Value>,
    /// Said once, with all there is.
    greeting: Option<Value>,
}

pub(super) async fn events(
    Extract(to): Extract<Steering>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let viewer = Viewer {
        watcher: to.whatsapp.watch(),
        told: HashMap::new(),
        greeting: Some(json!({"run": to.run, "model": to.model.settings().real})),
    };
    let events = stream::unfold(viewer, |mut viewer| async {
        let event = viewer.next().await?;
        Some((Ok(event), viewer))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// How the page names a person.
pub(super) fn key(person: &Person) -> String {
    let key = person.phone.as_ref().or(person.user_id.as_ref());
    key.cloned().unwrap_or_default()
}

impl Viewer {
    /// The next event; none when the simulator ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.greeting.is_none() {
                self.watcher.changed().await.ok()?;
            }
            let (people, messages) = {
                let state = self.watcher.borrow_and_update();
                (people(&state), messages(&state))
            };
            let (people, messages) = (self.news(people), self.news(messages));
            if let Some(mut hello) = self.greeting.take() {
                hello["people"] = json!(people);
                hello["messages"] = json!(messages);
                let event = Event::default().event("hello").retry(COME_BACK);
                return Some(event.data(hello.to_string()));
            }
            if !people.is_empty() || !messages.is_empty() {
                let news = json!({"people": people, "messages": messages});
                return Some(Event::default().event("news").data(news.to_string()));
            }
        }
    }

    /// Those that the browser does not know like this yet.
    fn news(&mut self, all: Vec<(String, Value)>) -> Vec<Value> {
        let mut news = Vec::new();
        for (name, value) in all {
            if self.told.get(&name) != Some(&value) {
                news.push(value.clone());
                self.told.insert(name, value);
            }
        }
        news
    }
}

fn people(state: &State) -> Vec<(String, Value)> {
    let all = state.everybody();
    all.iter()
        .map(|person| {
            let view = json!({
                "key": key(person),
                "name": person.name,
                "phone": person.phone,
                "typing": state.is_typing(person),
            });
            (key(person), view)
        })
        .collect()
}

fn messages(state: &State) -> Vec<(String, Value)> {
    let everybody = state.everybody();
    let of = |bubble: &Bubble| {
        let known = everybody.iter().find(|person| person.is(&bubble.person));
        key(known.unwrap_or(&bubble.person))
    };
    let all = state.bubbles.iter().enumerate();
    all.map(|(place, bubble)| {
        let view = json!({
            "id": bubble.wamid,
            "place": place,
            "person": of(bubble),
            "side": bubble.side,
            "text": bubble.text,
            "at": bubble.at,
            "ticks": bubble.ticks,
            "trouble": trouble(state, bubble),
        });
        (bubble.wamid.clone(), view)
    })
    .collect()
}

/// Why a person's message has not reached the product, once that was tried.
fn trouble(state: &State, bubble: &Bubble) -> Value {
    if bubble.side == Side::Assistant || bubble.ticks != Ticks::Sent {
        return Value::Null;
    }
    let mut posted = state.deliveries.iter().rev();
    let Some(delivery) = posted.find(|one| one.tells.contains(&bubble.wamid)) else {
        return Value::Null;
    };
    match delivery.attempts.last() {
        Some(last) if last.status != Some(200) => json!({
            "attempts": delivery.attempts.len(),
            "status": last.status,
            "retrying": delivery.retrying,
        }),
        _ => Value::Null,
    }
}
