//! Webhooks as Meta writes, signs and delivers them.
//!
//! The signature is over the exact bytes sent, and those are escaped as Meta escapes them: every
//! character beyond ASCII as lowercase `\uXXXX` and every slash as `\/`. Whoever verifies over a
//! body that was parsed and written again fails here as in production.

use std::time::{Duration, Instant};

use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use uuid::Uuid;

use super::{
    Inner, Settings, Through, kapso,
    person::Person,
    register,
    state::{Attempt, Ticks},
};

pub const SIGNATURE_HEADER: &str = "X-Hub-Signature-256";

/// Meta starts with retries at once and slows down for days; a test has minutes.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// Something a person sent.
#[derive(Clone, Debug)]
pub struct Message {
    pub from: Person,
    pub wamid: String,
    /// Seconds since 1970, as the phone says.
    pub sent_at: i64,
    pub kind: String,
    /// What stands under the key named like `kind`; nothing if null.
    pub content: Value,
    /// The message it answers.
    pub answers: Option<String>,
    /// What else it says: members of the message as it goes over the wire.
    pub beside: Map<String, Value>,
}

impl Message {
    pub fn text(from: &Person, text: &str) -> Self {
        Self::of(from, "text", json!({"body": text}))
    }

    /// Any other type: `("image", json!({"id": "1", "mime_type": "image/jpeg"}))`.
    pub fn of(from: &Person, kind: &str, content: Value) -> Self {
        Self {
            from: from.clone(),
            wamid: new_wamid(),
            sent_at: Utc::now().timestamp(),
            kind: kind.to_owned(),
            content,
            answers: None,
            beside: Map::new(),
        }
    }

    /// One that is written down as it goes over the wire, without id, sender and time.
    pub fn written(from: &Person, item: Map<String, Value>) -> Self {
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
        Self {
            beside: item.clone(),
            ..Self::of(from, kind, Value::Null)
        }
    }

    pub fn answering(self, wamid: &str) -> Self {
        Self {
            answers: Some(wamid.to_owned()),
            ..self
        }
    }

    pub(super) fn on_the_wire(&self) -> Value {
        let mut message = json!({
            "id": self.wamid,
            "timestamp": self.sent_at.to_string(),
        });
        if !self.kind.is_empty() {
            message["type"] = json!(self.kind);
        }
        if let Some(phone) = &self.from.phone {
            message["from"] = json!(phone);
        }
        if let Some(user_id) = &self.from.user_id {
            message["from_user_id"] = json!(user_id);
        }
        if !self.content.is_null() {
            message[&self.kind] = self.content.clone();
        }
        if let Some(wamid) = &self.answers {
            message["context"] = json!({ "id": wamid });
        }
        if let Value::Object(message) = &mut message {
            message.extend(self.beside.clone());
        }
        message
    }
}

/// One body with these messages.
pub(crate) fn messages_body(settings: &Settings, messages: &[Message]) -> Vec<u8> {
    if settings.through == Through::Kapso {
        return kapso::messages_body(settings, messages);
    }
    // A system message tells of a change of identity and comes without contacts.
    let writers = messages.iter().filter(|message| message.kind != "system");
    let mut contacts: Vec<Value> = Vec::new();
    for contact in writers.map(|message| contact(&message.from)) {
        if !contacts.contains(&contact) {
            contacts.push(contact);
        }
    }
    let messages: Vec<Value> = messages.iter().map(Message::on_the_wire).collect();
    let mut value = json!({"messages": messages});
    if !contacts.is_empty() {
        value["contacts"] = json!(contacts);
    }
    envelope(settings, value)
}

/// One body with the beginning of a call.
pub(crate) fn call_body(settings: &Settings, person: &Person) -> Vec<u8> {
    let mut call = json!({
        "id": format!("wacid.{}", Uuid::new_v4().simple()),
        "to": settings.display_phone_number,
        "event": "connect",
        "direction": "USER_INITIATED",
        "timestamp": Utc::now().timestamp().to_string(),
    });
    if let Some(phone) = &person.phone {
        call["from"] = json!(phone);
    }
    let value = json!({"calls": [call], "contacts": [contact(person)]});
    envelope_of(settings, "calls", value)
}

/// One body with one status of a message that was sent to a person.
pub(crate) fn status_body(
    settings: &Settings,
    person: &Person,
    wamid: &str,
    callback: Option<&str>,
    status: Ticks,
    error: Option<(i64, &str)>,
) -> Vec<u8> {
    let mut update = json!({
        "id": wamid,
        "status": status,
        "timestamp": Utc::now().timestamp().to_string(),
    });
    if let Some(phone) = &person.phone {
        update["recipient_id"] = json!(phone);
    }
    if let Some(user_id) = &person.user_id {
        update["recipient_user_id"] = json!(user_id);
    }
    if let Some(callback) = callback {
        update["biz_opaque_callback_data"] = json!(callback);
    }
    if let Some((code, title)) = error {
        update["errors"] = json!([{
            "code": code, "title": title, "message": title, "error_data": {"details": title},
        }]);
    }
    if matches!(status, Ticks::Sent | Ticks::Delivered) {
        update["pricing"] = json!({
            "billable": false, "pricing_model": "PMP",
            "type": "free_customer_service", "category": "service",
        });
    }
    if settings.through == Through::Kapso {
        return kapso::status_body(settings, person, wamid, update);
    }
    let mut value = json!({"statuses": [update]});
    if status != Ticks::Failed {
        value["contacts"] = json!([contact(person)]);
    }
    envelope(settings, value)
}

/// Who wrote what in a body, as far as it can be read; a body of rubbish has nothing.
pub(crate) fn messages_in(body: &[u8]) -> Vec<(Person, String, String)> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Vec::new();
    };
    if body.get("entry").is_none() {
        return kapso::messages_in(&body);
    }
    let entries = list(&body["entry"]);
    let changes = entries.flat_map(|entry| list(&entry["changes"]));
    let values = changes.map(|change| &change["value"]);
    values
        .flat_map(|value| list(&value["messages"]).map(move |one| (value, one)))
        .filter_map(|(value, message)| {
            let from = Person {
                phone: text_of(&message["from"]),
                user_id: text_of(&message["from_user_id"]),
                name: None,
            };
            let contact = list(&value["contacts"]).find(|contact| {
                from.is(&Person {
                    phone: text_of(&contact["wa_id"]),
                    user_id: text_of(&contact["user_id"]),
                    name: None,
                })
            });
            let name = contact.and_then(|contact| text_of(&contact["profile"]["name"]));
            let kind = message["type"].as_str().unwrap_or("unknown");
            let text = text_of(&message["text"]["body"]).unwrap_or_else(|| format!("[{kind}]"));
            let wamid = text_of(&message["id"])?;
            let reachable = from.phone.is_some() || from.user_id.is_some();
            (reachable && kind != "system").then_some((Person { name, ..from }, wamid, text))
        })
        .collect()
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text_of(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn envelope(settings: &Settings, value: Value) -> Vec<u8> {
    envelope_of(settings, "messages", value)
}

/// As an app gets it that has subscribed to the field.
fn envelope_of(settings: &Settings, field: &str, mut value: Value) -> Vec<u8> {
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({
        "display_phone_number": settings.display_phone_number,
        "phone_number_id": settings.phone_number_id,
    });
    escaped(&json!({
        "object": "whatsapp_business_account",
        "entry": [{
            "id": settings.business_account_id,
            "changes": [{"field": field, "value": value}],
        }],
    }))
}

fn contact(person: &Person) -> Value {
    let mut contact = json!({});
    if let Some(name) = &person.name {
        contact["profile"] = json!({"name": name});
    }
    if let Some(phone) = &person.phone {
        contact["wa_id"] = json!(phone);
    }
    if let Some(user_id) = &person.user_id {
        contact["user_id"] = json!(user_id);
    }
    contact
}

/// JSON with the escapes Meta uses. Slashes and other characters stand only inside strings.
pub fn escaped(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    for character in value.to_string().chars() {
        match character {
            '/' => out.push_str("\\/"),
            ascii if ascii.is_ascii() => out.push(ascii),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.into_bytes()
}

/// The value of the signature header for a body.
pub fn signature(app_secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(app_secret.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

pub(crate) fn new_wamid() -> String {
    wamid_of(Uuid::new_v4())
}

/// The message id that belongs to a uuid.
pub(crate) fn wamid_of(uuid: Uuid) -> String {
    use base64::Engine as _;
    let mut id = vec![0x1d, 0x06, 0x40, 0xfb];
    id.extend_from_slice(uuid.as_bytes());
    format!(
        "wamid.{}",
        base64::engine::general_purpose::STANDARD.encode(id)
    )
}

/// Posts a body once and returns the status, or nothing if no answer came.
pub(crate) async fn post(
    sim: &Inner,
    delivery: usize,
    body: &[u8],
    signature: Option<&str>,
) -> Option<u16> {
    if sim.is_paused() {
        return None;
    }
    let url = sim.webhook_url.borrow().clone();
    let http = sim.http.borrow().clone();
    let mut request = http
        .post(url)
        .header("Content-Type", "application/json")
        .header("User-Agent", "facebookexternalua");
    match (signature, sim.settings.through) {
        (Some(signature), Through::Meta) => {
            request = request.header(SIGNATURE_HEADER, signature);
        }
        (Some(signature), Through::Kapso) => {
            let digits = signature.trim_start_matches("sha256=");
            request = request.header(kapso::SIGNATURE_HEADER, digits);
        }
        (None, _) => {}
    }
    if sim.settings.through == Through::Kapso {
        request = request.header(kapso::EVENT_HEADER, kapso::event_of(body));
    }
    let (at, started) = (Utc::now(), Instant::now());
    let status = match request.body(body.to_vec()).send().await {
        Ok(response) => Some(response.status().as_u16()),
        Err(error) => {
            tracing::debug!("failed to post a webhook: {error:#}");
            None
        }
    };
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    sim.state.send_modify(|state| {
        state.deliveries[delivery].attempts.push(Attempt {
            at,
            took_ms,
            status,
        });
    });
    status
}

/// Posts a body for the first time; [`retry`] goes on where that is not answered with 200.
pub(crate) async fn deliver(sim: &Inner, body: &[u8]) -> (usize, Option<u16>) {
    let delivery = sim.begin_delivery(body);
    sim.state
        .send_modify(|state| state.deliveries[delivery].retrying = true);
    let signature = signature(&register::secret(sim), body);
    (delivery, post(sim, delivery, body, Some(&signature)).await)
}

/// Posts a body again until it is answered with 200, as Meta does, but gives up after `lasts`.
pub(crate) async fn retry(
    sim: &Inner,
    delivery: usize,
    body: &[u8],
    lasts: Duration,
) -> Option<u16> {
    let signature = signature(&register::secret(sim), body);
    let (started, mut pause) = (Instant::now(), FIRST_RETRY);
    let mut status = None;
    while started.elapsed() + pause <= lasts && !sim.is_paused() {
        tokio::time::sleep(pause).await;
        status = post(sim, delivery, body, Some(&signature)).await;
        if status == Some(200) {
            break;
        }
        pause = (pause * 2).min(SLOWEST_RETRY);
    }
    sim.state
        .send_modify(|state| state.deliveries[delivery].retrying = false);
    status
}
