//! Reads what the product POSTs to `/messages`, as strictly as Meta does.
//!
//! Pure: a body in, a [`Request`] or the error Graph would answer out. Keys Graph does not know are
//! refused, because a misspelt key that is silently ignored is a bug a simulator should find.

use serde_json::{Map, Value};

use super::{
    error::GraphError,
    outgoing::{self, Shown},
    person::{digits, is_user_id},
};

/// Longest text of one message, in characters.
pub const MAX_TEXT: usize = 4096;
/// Longest `biz_opaque_callback_data`.
const MAX_CALLBACK: usize = 512;
/// Shortest and longest phone numbers (ITU E.164).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// What may be said in a group (Meta docs: groups, sending messages).
const FOR_GROUPS: [&str; 7] = [
    "text", "image", "video", "audio", "document", "sticker", "template",
];
const OF_A_GROUP: &str = "@g.us";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `to` as it was written: a phone number or a user id.
    Message {
        to: String,
        shown: Shown,
        callback: Option<String>,
    },
    MarkRead {
        wamid: String,
        typing: bool,
    },
}

pub(crate) fn read(body: &Value) -> Result<Request, GraphError> {
    let Value::Object(body) = body else {
        return Err(GraphError::parameter("The body must be a JSON object."));
    };
    if string(body, "messaging_product")? != Some("whatsapp") {
        return Err(GraphError::missing("messaging_product"));
    }
    if body.contains_key("status") {
        mark_read(body)
    } else {
        message(body)
    }
}

fn mark_read(body: &Map<String, Value>) -> Result<Request, GraphError> {
    only_keys(
        body,
        "",
        &[
            "messaging_product",
            "status",
            "message_id",
            "typing_indicator",
        ],
    )?;
    if string(body, "status")? != Some("read") {
        return Err(GraphError::parameter("Param status must be one of {READ}."));
    }
    let wamid = string(body, "message_id")?.ok_or_else(|| GraphError::missing("message_id"))?;
    let typing = match body.get("typing_indicator") {
        None => false,
        Some(Value::Object(typing)) => {
            only_keys(typing, "typing_indicator", &["type"])?;
            if string(typing, "type")? != Some("text") {
                return Err(GraphError::parameter(
                    "Param typing_indicator['type'] must be text.",
                ));
            }
            true
        }
        Some(_) => {
            return Err(GraphError::parameter(
                "Param typing_indicator must be an object.",
            ));
        }
    };
    Ok(Request::MarkRead {
        wamid: wamid.to_owned(),
        typing,
    })
}

fn message(body: &Map<String, Value>) -> Result<Request, GraphError> {
    // Text is what Graph takes a message without a type for.
    let kind = string(body, "type")?.unwrap_or("text");
    only_keys(
        body,
        "",
        &[
            "messaging_product",
            "recipient_type",
            "to",
            "recipient",
            "type",
            kind,
            "context",
            "biz_opaque_callback_data",
            "recipient_identity_key_hash",
        ],
    )?;
    let to = match string(body, "recipient_type")? {
        None | Some("individual") => recipient(body)?,
        Some("group") if FOR_GROUPS.contains(&kind) => group(body)?,
        Some("group") => {
            return Err(GraphError::parameter(
                "Param type cannot be sent to a group.",
            ));
        }
        Some(_) => {
            return Err(GraphError::parameter(
                "Param recipient_type must be one of {individual, group}.",
            ));
        }
    };
    let callback = string(body, "biz_opaque_callback_data")?;
    if callback.is_some_and(|data| data.chars().count() > MAX_CALLBACK) {
        return Err(GraphError::parameter(
            "Param biz_opaque_callback_data is too long.",
        ));
    }
    check_context(body)?;
    Ok(Request::Message {
        to,
        shown: outgoing::read(kind, body)?,
        callback: callback.map(str::to_owned),
    })
}

fn group(body: &Map<String, Value>) -> Result<String, GraphError> {
    let to = string(body, "to")?.ok_or_else(|| GraphError::missing("to"))?;
    match to.ends_with(OF_A_GROUP) {
        true => Ok(to.to_owned()),
        false => Err(GraphError::parameter("Param to is not a group.")),
    }
}

/// `to` wins where both are given.
fn recipient(body: &Map<String, Value>) -> Result<String, GraphError> {
    match (string(body, "to")?, string(body, "recipient")?) {
        (Some(to), _) => {
            let well_formed = to
                .chars()
                .all(|c| c.is_ascii_digit() || " +-()".contains(c));
            if well_formed && PHONE_DIGITS.contains(&digits(to).len()) {
                Ok(to.to_owned())
            } else {
                Err(GraphError::parameter(
                    "Param to is not a valid phone number.",
                ))
            }
        }
        (None, Some(user_id)) if is_user_id(user_id) => Ok(user_id.to_owned()),
        (None, Some(_)) => Err(GraphError::parameter(
            "Param recipient is not a valid user id.",
        )),
        (None, None) => Err(GraphError::missing("to")),
    }
}

fn check_context(body: &Map<String, Value>) -> Result<(), GraphError> {
    match body.get("context") {
        None => Ok(()),
        Some(Value::Object(context)) => {
            only_keys(context, "context", &["message_id"])?;
            let quoted = string(context, "message_id")?;
            quoted
                .map(drop)
                .ok_or_else(|| GraphError::missing("context['message_id']"))
        }
        Some(_) => Err(GraphError::parameter("Param context must be an object.")),
    }
}

pub(super) fn string<'a>(
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a str>, GraphError> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(GraphError::parameter(format!(
            "Param {key} must be a string."
        ))),
    }
}

pub(super) fn only_keys(
    object: &Map<String, Value>,
    place: &str,
    known: &[&str],
) -> Result<(), GraphError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let details = format!("Unexpected key \"{key}\" on param \"{place}\".");
            Err(GraphError::parameter(details))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(changes: Value) -> Value {
        let mut body = json!({
            "messaging_product": "whatsapp", "to": "+15550001", "type": "text",
            "text": {"body": "Hi", "preview_url": false},
        });
        for (key, value) in changes.as_object().cloned().unwrap_or_default() {
            body[key] = value;
        }
        body
    }

    #[test]
    fn a_text_is_taken_at_4096_characters_and_refused_beyond() {
        assert!(read(&with(json!({"text": {"body": "ä".repeat(4096)}}))).is_ok());
        assert!(read(&with(json!({"text": {"body": "ä".repeat(4097)}}))).is_err());
    }

    #[test]
    fn words_go_to_a_group() {
        let group = json!({"recipient_type": "group", "to": "1203@g.us"});
        let read = read(&with(group));
        assert!(matches!(read, Ok(Request::Message { to, .. }) if to == "1203@g.us"));
    }

    #[test]
    fn what_meta_refuses_is_refused_with_code_100() {
        for wrong in [
            json!({"messaging_product": "sms"}),
            json!({"to": 15550001}),
            json!({"to": "Ana"}),
            json!({"to": ""}),
            json!({"text": {"body": ""}}),
            json!({"text": {"body": "Hi", "preview": false}}),
            json!({"text": "Hi"}),
            json!({"type": "texts"}),
            json!({"callback": "x"}),
            json!({"biz_opaque_callback_data": "x".repeat(513)}),
            json!({"status": "seen"}),
            json!({"recipient_type": "everybody"}),
            json!({"recipient_type": "group"}),
            json!({"to": "1203@g.us"}),
            json!({"recipient_type": "group", "to": "1203@g.us", "type": "reaction",
                   "reaction": {"message_id": "wamid.1", "emoji": "x"}}),
        ] {
            assert_eq!(
                read(&with(wrong.clone())).map_err(|error| error.code),
                Err(100),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_phone_number_wins_over_the_user_id() {
        let both = read(&with(json!({"recipient": "US.134"})));
        assert!(matches!(both, Ok(Request::Message { to, .. }) if to == "+15550001"));
    }
}
