//! The demonstration page: in a browser, anybody is a person on WhatsApp and talks with the
//! running product.
//!
//! The page shows what `events.rs` streams: what people would see on their phones, no more. Its
//! files are part of the program, and nothing else may be loaded into it. As it speaks for
//! anybody, `guard.rs` keeps other web pages away from it and from the whole control API.

mod events;
mod guard;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::{Person, control::Steering, whatsapp::MAX_TEXT};

pub(crate) use guard::guard;

/// Two phones are laid ready, so that a first visitor sees what it is about.
const FIRST_PHONES: [(&str, &str); 2] = [("15550001", "Ana"), ("15550002", "Ben")];
/// As long as WhatsApp lets a name in a profile be.
const MAX_NAME: usize = 25;
/// Shortest and longest phone numbers (ITU E.164).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and content of every file but the page itself.
const FILES: [(&str, &str, &str); 10] = [
    ("look.css", CSS, include_str!("look.css")),
    ("chat.css", CSS, include_str!("chat.css")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("page.js", SCRIPT, include_str!("page.js")),
    ("wire.js", SCRIPT, include_str!("wire.js")),
    ("people.js", SCRIPT, include_str!("people.js")),
    ("chat.js", SCRIPT, include_str!("chat.js")),
    ("message.js", SCRIPT, include_str!("message.js")),
    ("format.js", SCRIPT, include_str!("format.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
];

#[derive(Deserialize)]
struct NewPhone {
    name: String,
    phone: String,
}

#[derive(Deserialize)]
struct Write {
    person: String,
    text: String,
    /// Made by the browser: the same one again is the same message.
    id: Uuid,
}

#[derive(Deserialize)]
struct Look {
    person: String,
}

pub(crate) fn routes(to: &Steering) -> Router<Steering> {
    for (phone, name) in FIRST_PHONES {
        to.whatsapp.add_phone(&Person::new(phone, name));
    }
    Router::new()
        .route("/", get(page))
        .route("/demo/{file}", get(file))
        .route("/events", get(events::events))
        .route("/people", post(add_phone))
        .route("/write", post(write))
        .route("/look", post(look))
}

async fn page() -> Response {
    served(HTML, include_str!("page.html"))
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => served(kind, content),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A newer program has newer files under the same names.
fn served(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}

async fn add_phone(State(to): State<Steering>, Json(new): Json<NewPhone>) -> Response {
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return refused(&format!("Give a name of up to {MAX_NAME} characters."));
    }
    let well_formed = |c: char| c.is_ascii_digit() || " +-()".contains(c);
    let person = Person::new(&new.phone, name);
    let phone = person.phone.clone().unwrap_or_default();
    if !new.phone.chars().all(well_formed) || !PHONE_DIGITS.contains(&phone.len()) {
        return refused("Give a phone number of 7 to 15 digits, with the country code.");
    }
    if to.whatsapp.add_phone(&person) {
        (StatusCode::CREATED, Json(json!({"person": phone}))).into_response()
    } else {
        let why = json!({"error": "Somebody here has this number already."});
        (StatusCode::CONFLICT, Json(why)).into_response()
    }
}

async fn write(State(to): State<Steering>, Json(write): Json<Write>) -> Response {
    if write.text.trim().is_empty() || write.text.chars().count() > MAX_TEXT {
        return refused(&format!("Write up to {MAX_TEXT} characters."));
    }
    let Some(person) = whose(&to, &write.person) else {
        return nobody();
    };
    let wamid = to.whatsapp.write(&person, &write.text, write.id);
    (StatusCode::ACCEPTED, Json(json!({"wamid": wamid}))).into_response()
}

async fn look(State(to): State<Steering>, Json(look): Json<Look>) -> Response {
    let Some(person) = whose(&to, &look.person) else {
        return nobody();
    };
    to.whatsapp.look(&person);
    Json(json!({"ok": true})).into_response()
}

fn whose(to: &Steering, key: &str) -> Option<Person> {
    let everybody = to.whatsapp.read(|state| state.everybody());
    everybody.into_iter().find(|one| events::key(one) == key)
}

fn refused(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": why}))).into_response()
}

fn nobody() -> Response {
    let why = json!({"error": "Nobody here has this number."});
    (StatusCode::NOT_FOUND, Json(why)).into_response()
}
