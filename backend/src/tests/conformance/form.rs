//! The forms in which the same thing comes: Meta's own body, and Kapso's three.

use serde_json::{Map, Value, json};

use super::shape::Someone;
use crate::{tests::support::NUMBER, whatsapp::provider::Provider};

pub const RECEIVED: &str = "whatsapp.message.received";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Meta,
    /// Meta's body, handed on as it is.
    KapsoRaw,
    /// One event, named in a header only.
    KapsoOne,
    /// One event in a batch, which names it.
    KapsoBatch,
}

/// A webhook's body, and what stands in its headers.
pub struct Hook {
    pub provider: Provider,
    pub event: Option<String>,
    pub body: Value,
}

impl Form {
    pub const ALL: [Self; 4] = [Self::Meta, Self::KapsoRaw, Self::KapsoOne, Self::KapsoBatch];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "Meta",
            Self::KapsoRaw => "Kapso, raw",
            Self::KapsoOne => "Kapso, one",
            Self::KapsoBatch => "Kapso, batch",
        }
    }

    pub fn provider(self) -> Provider {
        match self {
            Self::Meta => Provider::Meta,
            _ => Provider::Kapso,
        }
    }

    /// Whether Meta's own body comes.
    pub fn is_metas(self) -> bool {
        matches!(self, Self::Meta | Self::KapsoRaw)
    }

    /// One message. `item` lacks what all have: its id, its sender, its time.
    pub fn message(self, someone: &Someone, id: &str, item: &Value) -> Hook {
        let mut message = json!({ "id": id, "timestamp": "1790000000" });
        put(&mut message, "from", &someone.phone);
        put(&mut message, "from_user_id", &someone.user_id);
        if let (Value::Object(message), Value::Object(item)) = (&mut message, item) {
            message.extend(item.clone());
        }
        if !self.is_metas() {
            message["kapso"] = json!({ "direction": "inbound", "status": "received",
                "processing_status": "pending", "origin": "cloud_api", "phone_number_id": NUMBER });
            return self.delivery(someone, message, RECEIVED);
        }
        let mut value = json!({ "messages": [message] });
        // WhatsApp's own messages come without.
        if item["type"] != "system" {
            value["contacts"] = json!([contact(someone)]);
        }
        self.change("messages", value, true)
    }

    /// One item of a list of its own field, which only Meta's body has.
    pub fn update(self, field: &str, someone: &Someone, item: Value) -> Hook {
        let mut value = json!({ "contacts": [contact(someone)] });
        value[field] = json!([item]);
        self.change(field, value, true)
    }

    /// What became of a message to somebody.
    pub fn status(self, someone: &Someone, wamid: &str, state: &str) -> Hook {
        let mut status = json!({ "id": wamid, "status": state, "timestamp": "1790000000" });
        put(&mut status, "recipient_id", &someone.phone);
        put(&mut status, "recipient_user_id", &someone.user_id);
        if state == "failed" {
            status["errors"] = json!([{ "code": 131_026, "title": "Message undeliverable",
                "message": "Message undeliverable", "error_data": { "details": "x" } }]);
        } else {
            status["pricing"] = json!({ "billable": false, "pricing_model": "PMP",
                "type": "free_customer_service", "category": "service" });
        }
        if self.is_metas() {
            let mut value = json!({ "statuses": [status] });
            if state != "failed" {
                value["contacts"] = json!([contact(someone)]);
            }
            return self.change("messages", value, true);
        }
        let message = json!({ "id": wamid, "timestamp": "1790000000", "type": "text",
            "kapso": { "direction": "outbound", "status": state, "origin": "cloud_api",
                       "statuses": [status] } });
        self.delivery(someone, message, &format!("whatsapp.message.{state}"))
    }

    /// Anything that Meta may say.
    pub fn change(self, field: &str, mut value: Value, with_metadata: bool) -> Hook {
        if with_metadata {
            value["messaging_product"] = json!("whatsapp");
            value["metadata"] =
                json!({ "display_phone_number": "15550783881", "phone_number_id": NUMBER });
        }
        self.body(json!([{ "id": "1", "changes": [{ "field": field, "value": value }] }]))
    }

    pub fn body(self, entry: Value) -> Hook {
        Hook {
            provider: self.provider(),
            event: None,
            body: json!({ "object": "whatsapp_business_account", "entry": entry }),
        }
    }

    fn delivery(self, someone: &Someone, message: Value, event: &str) -> Hook {
        let phone = someone.phone.as_ref().map(|phone| match phone.is_empty() {
            true => String::new(),
            false => format!("+{phone}"),
        });
        let delivery = json!({
            "message": message,
            "conversation": {
                "id": "conv_1", "phone_number": phone, "business_scoped_user_id": someone.user_id,
                "phone_number_id": NUMBER, "status": "active",
                "kapso": { "contact_name": someone.name },
            },
            "is_new_conversation": false,
            "phone_number_id": NUMBER,
        });
        match self {
            Self::KapsoBatch => batch(event, vec![delivery]),
            _ => Hook {
                provider: Provider::Kapso,
                event: Some(event.to_owned()),
                body: delivery,
            },
        }
    }
}

pub fn batch(event: &str, deliveries: Vec<Value>) -> Hook {
    let size = deliveries.len();
    Hook {
        provider: Provider::Kapso,
        event: Some(event.to_owned()),
        body: json!({ "type": event, "batch": true, "data": deliveries,
            "batch_info": { "size": size, "window_ms": 5_000 } }),
    }
}

pub fn contact(someone: &Someone) -> Value {
    let mut contact = json!({});
    put(&mut contact, "wa_id", &someone.phone);
    put(&mut contact, "user_id", &someone.user_id);
    if let Some(name) = &someone.name {
        contact["profile"] = json!({ "name": name });
    }
    contact
}

fn put(object: &mut Value, key: &str, value: &Option<String>) {
    if let (Value::Object(object), Some(value)) = (object, value) {
        let object: &mut Map<_, _> = object;
        object.insert(key.to_owned(), json!(value));
    }
}
