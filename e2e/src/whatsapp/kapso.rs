//! Webhooks as Kapso writes them: one event a body, whose name is only in a header, and several in a
//! batch that names its own (Kapso docs: webhooks, payload version v2).

use chrono::Utc;
use serde_json::{Value, json};

use super::{
    Settings,
    person::Person,
    state::Ticks,
    webhook::{Message, list, text_of},
};

pub const SIGNATURE_HEADER: &str = "X-Webhook-Signature";
pub const EVENT_HEADER: &str = "X-Webhook-Event";
pub const KEY_HEADER: &str = "X-API-Key";
/// What Meta's paths are below.
pub const PROXY: &str = "/meta/whatsapp";
const RECEIVED: &str = "whatsapp.message.received";

/// One message as it is, several as a batch.
pub fn messages_body(settings: &Settings, messages: &[Message]) -> Vec<u8> {
    let mut deliveries: Vec<_> = messages
        .iter()
        .map(|message| {
            let told = json!({
                "direction": "inbound",
                "status": "received",
                "processing_status": "pending",
                "origin": "cloud_api",
                "has_media": false,
                "contact_name": message.from.name,
            });
            delivery(settings, &message.from, message.on_the_wire(), told)
        })
        .collect();
    let body = match deliveries.len() {
        1 => deliveries.remove(0),
        size => json!({
            "type": RECEIVED,
            "batch": true,
            "data": deliveries,
            "batch_info": {"size": size, "window_ms": 5000},
        }),
    };
    body.to_string().into_bytes()
}

/// One status of a message that was sent to a person, after all that it had before.
pub fn status_body(settings: &Settings, person: &Person, wamid: &str, status: Value) -> Vec<u8> {
    let message = json!({
        "id": wamid,
        "timestamp": Utc::now().timestamp().to_string(),
        "type": "text",
    });
    let mut history = Vec::new();
    if status["status"] != json!(Ticks::Sent) && status["status"] != json!(Ticks::Failed) {
        let mut before = status.clone();
        before["status"] = json!(Ticks::Sent);
        history.push(before);
    }
    let last = status["status"].clone();
    history.push(status);
    let told = json!({
        "direction": "outbound",
        "status": last,
        "origin": "cloud_api",
        "statuses": history,
    });
    delivery(settings, person, message, told)
        .to_string()
        .into_bytes()
}

fn delivery(settings: &Settings, person: &Person, mut message: Value, mut told: Value) -> Value {
    let phone = person.phone.as_ref().map(|phone| format!("+{phone}"));
    told["phone_number"] = json!(phone);
    told["phone_number_id"] = json!(settings.phone_number_id);
    message["kapso"] = told;
    json!({
        "message": message,
        "conversation": {
            "id": "conv_1",
            "phone_number": phone,
            "business_scoped_user_id": person.user_id,
            "phone_number_id": settings.phone_number_id,
            "status": "active",
            "kapso": {"contact_name": person.name},
        },
        "is_new_conversation": false,
        "phone_number_id": settings.phone_number_id,
    })
}

/// What a body is about, for the header: in a batch that says so itself, the same.
pub fn event_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let told = &body["message"]["kapso"];
    match told["status"]
        .as_str()
        .filter(|_| told["direction"] == "outbound")
    {
        Some(status) => format!("whatsapp.message.{status}"),
        None => RECEIVED.to_owned(),
    }
}

fn deliveries(body: &Value) -> impl Iterator<Item = &Value> {
    let one = body.get("message").map(|_| body);
    list(&body["data"]).chain(one)
}

/// The messages that a body is about, in both directions.
pub fn told_in(body: &[u8]) -> Vec<Value> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let messages = deliveries(&body).map(|delivery| &delivery["message"]);
    messages
        .filter(|message| message["kapso"]["direction"].is_string())
        .cloned()
        .collect()
}

/// Who wrote what in a body.
pub fn messages_in(body: &Value) -> Vec<(Person, String, String)> {
    deliveries(body)
        .filter(|delivery| delivery["message"]["kapso"]["direction"] == "inbound")
        .filter_map(|delivery| {
            let message = &delivery["message"];
            let kind = message["type"].as_str().unwrap_or("unknown");
            let text = text_of(&message["text"]["body"]).unwrap_or_else(|| format!("[{kind}]"));
            let person = Person {
                phone: text_of(&message["from"]),
                user_id: text_of(&message["from_user_id"]),
                name: text_of(&delivery["conversation"]["kapso"]["contact_name"]),
            };
            Some((person, text_of(&message["id"])?, text))
        })
        .collect()
}
