//! Reads what a message to a person holds, by its type, as strictly as Meta does (Meta docs: Cloud API,
//! messages): every key known, every limit kept.

use serde_json::{Map, Value};

use super::{
    error::GraphError,
    request::{MAX_TEXT, only_keys, string},
};

type Object = Map<String, Value>;
type Read<T> = Result<T, GraphError>;

const MAX_CAPTION: usize = 1024;
const MAX_BODY: usize = 1024;

/// What the person sees of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The words, behind its type in brackets unless it is a text.
    pub text: String,
    /// The upload that it names.
    pub media: Option<String>,
    /// The message that it reacts to.
    pub to: Option<String>,
    /// Words that Meta has approved: taken also after a day of silence.
    pub is_template: bool,
}

impl Shown {
    fn new(kind: &str, words: &str) -> Self {
        Self {
            text: format!("[{kind}] {words}").trim_end().to_owned(),
            ..Self::default()
        }
    }
}

/// `kind` is what the message says of itself.
pub(crate) fn read(kind: &str, message: &Object) -> Read<Shown> {
    match kind {
        "text" => text(object(message, "text")?),
        "image" | "video" => file(kind, object(message, kind)?, &["id", "link", "caption"]),
        "document" => {
            let keys = ["id", "link", "caption", "filename"];
            file(kind, object(message, kind)?, &keys)
        }
        "sticker" => file(kind, object(message, kind)?, &["id", "link"]),
        "audio" => {
            let audio = object(message, kind)?;
            if audio.get("voice").is_some_and(|voice| !voice.is_boolean()) {
                return wrong("Param audio['voice'] must be a boolean.");
            }
            file(kind, audio, &["id", "link", "voice"])
        }
        "location" => place(object(message, "location")?),
        "contacts" => contacts(message),
        "reaction" => reaction(object(message, "reaction")?),
        "interactive" => interactive(object(message, "interactive")?),
        "template" => template(object(message, "template")?),
        _ => wrong(format!("Param type must not be {kind}.")),
    }
}

fn text(text: &Object) -> Read<Shown> {
    only_keys(text, "text", &["body", "preview_url"])?;
    let preview = text.get("preview_url");
    if preview.is_some_and(|value| !value.is_boolean()) {
        return wrong("Param text['preview_url'] must be a boolean.");
    }
    Ok(Shown {
        text: words(text, "body", MAX_TEXT)?,
        ..Shown::default()
    })
}

fn file(kind: &str, file: &Object, keys: &[&str]) -> Read<Shown> {
    only_keys(file, kind, keys)?;
    let id = match (string(file, "id")?, string(file, "link")?) {
        (Some(id), None) => id,
        // Meta would take it. Nothing of ours may let Meta fetch an address.
        (_, Some(_)) => return wrong("This simulator takes uploads only, no links."),
        (None, None) => return Err(GraphError::missing("id")),
    };
    let caption = match string(file, "caption")? {
        Some(_) => words(file, "caption", MAX_CAPTION)?,
        None => String::new(),
    };
    Ok(Shown {
        media: Some(id.to_owned()),
        ..Shown::new(kind, &caption)
    })
}

fn place(place: &Object) -> Read<Shown> {
    only_keys(
        place,
        "location",
        &["latitude", "longitude", "name", "address"],
    )?;
    for (key, most) in [("latitude", 90.0), ("longitude", 180.0)] {
        let degrees = place.get(key).and_then(Value::as_f64);
        if !degrees.is_some_and(|degrees| degrees.abs() <= most) {
            return wrong(format!("Param location['{key}'] must be a coordinate."));
        }
    }
    let name = string(place, "name")?.unwrap_or_default();
    string(place, "address")?;
    Ok(Shown::new("location", name))
}

fn contacts(message: &Object) -> Read<Shown> {
    let contacts = match message.get("contacts") {
        Some(Value::Array(contacts)) => contacts.clone(),
        // Graph takes what is nested as JSON text, too; whatsapp-api-js sends it so.
        Some(Value::String(json)) => serde_json::from_str(json)
            .map_err(|_| GraphError::parameter("Param contacts must be a list."))?,
        _ => return Err(GraphError::missing("contacts")),
    };
    let mut names = Vec::new();
    for contact in &contacts {
        let Value::Object(contact) = contact else {
            return wrong("Param contacts must hold objects.");
        };
        only_keys(contact, "contacts", &["name", "phones", "emails"])?;
        let name = object(contact, "name")?;
        only_keys(name, "name", &["formatted_name", "first_name"])?;
        names.push(words(name, "formatted_name", MAX_BODY)?);
        // Meta wants one more part of a name beside the formatted one.
        words(name, "first_name", MAX_BODY)?;
        for (list, key) in [("phones", "phone"), ("emails", "email")] {
            for entry in each(contact, list)? {
                only_keys(entry, list, &[key])?;
                words(entry, key, MAX_BODY)?;
            }
        }
    }
    match names.is_empty() {
        true => wrong("Param contacts must not be empty."),
        false => Ok(Shown::new("contacts", &names.join(", "))),
    }
}

fn reaction(reaction: &Object) -> Read<Shown> {
    only_keys(reaction, "reaction", &["message_id", "emoji"])?;
    let to = words(reaction, "message_id", MAX_BODY)?;
    let emoji = string(reaction, "emoji")?.ok_or_else(|| GraphError::missing("emoji"))?;
    if emoji.chars().any(char::is_alphanumeric) {
        return wrong("Param reaction['emoji'] must be an emoji.");
    }
    Ok(Shown {
        to: Some(to),
        ..Shown::new("reaction", emoji)
    })
}

fn template(template: &Object) -> Read<Shown> {
    only_keys(template, "template", &["name", "language", "components"])?;
    let language = object(template, "language")?;
    only_keys(language, "language", &["code", "policy"])?;
    words(language, "code", MAX_BODY)?;
    let name = words(template, "name", MAX_BODY)?;
    Ok(Shown {
        is_template: true,
        ..Shown::new("template", &name)
    })
}

fn interactive(interactive: &Object) -> Read<Shown> {
    only_keys(interactive, "interactive", &["type", "body", "action"])?;
    let kind = string(interactive, "type")?.ok_or_else(|| GraphError::missing("type"))?;
    let body = object(interactive, "body")?;
    only_keys(body, "body", &["text"])?;
    let most = if kind == "list" { MAX_TEXT } else { MAX_BODY };
    let said = words(body, "text", most)?;
    let action = object(interactive, "action")?;
    let choices = match kind {
        "button" => buttons(action)?,
        "list" => rows(action)?,
        "cta_url" => link(action)?,
        _ => return wrong(format!("Param interactive['type'] must not be {kind}.")),
    };
    Ok(Shown::new(
        kind,
        &format!("{said} [{}]", choices.join(" | ")),
    ))
}

fn buttons(action: &Object) -> Read<Vec<String>> {
    only_keys(action, "action", &["buttons"])?;
    let mut titles = Vec::new();
    let mut ids = Vec::new();
    for button in each(action, "buttons")? {
        only_keys(button, "buttons", &["type", "reply"])?;
        if string(button, "type")? != Some("reply") {
            return wrong("Param buttons['type'] must be reply.");
        }
        let reply = object(button, "reply")?;
        only_keys(reply, "reply", &["id", "title"])?;
        ids.push(words(reply, "id", 256)?);
        titles.push(words(reply, "title", 20)?);
    }
    distinct(&ids, 3)?;
    distinct(&titles, 3)?;
    Ok(titles)
}

fn rows(action: &Object) -> Read<Vec<String>> {
    only_keys(action, "action", &["button", "sections"])?;
    words(action, "button", 20)?;
    let sections = each(action, "sections")?;
    let several = sections.len() > 1;
    let mut titles = Vec::new();
    let mut ids = Vec::new();
    for section in sections {
        only_keys(section, "sections", &["title", "rows"])?;
        if several || section.contains_key("title") {
            words(section, "title", 24)?;
        }
        for row in each(section, "rows")? {
            only_keys(row, "rows", &["id", "title", "description"])?;
            ids.push(words(row, "id", 200)?);
            titles.push(words(row, "title", 24)?);
            if row.contains_key("description") {
                words(row, "description", 72)?;
            }
        }
    }
    distinct(&ids, 10)?;
    Ok(titles)
}

fn link(action: &Object) -> Read<Vec<String>> {
    only_keys(action, "action", &["name", "parameters"])?;
    if string(action, "name")? != Some("cta_url") {
        return wrong("Param action['name'] must be cta_url.");
    }
    let parameters = object(action, "parameters")?;
    only_keys(parameters, "parameters", &["display_text", "url"])?;
    let title = words(parameters, "display_text", 20)?;
    let url = words(parameters, "url", 2000)?;
    match url.starts_with("https://") || url.starts_with("http://") {
        true => Ok(vec![title, url]),
        false => wrong("Param parameters['url'] must be an address."),
    }
}

fn distinct(all: &[String], most: usize) -> Read<()> {
    let twice = all
        .iter()
        .enumerate()
        .any(|(at, one)| all[..at].contains(one));
    match twice || all.is_empty() || all.len() > most {
        true => wrong(format!("There must be one to {most}, each of its own.")),
        false => Ok(()),
    }
}

fn object<'a>(object: &'a Object, key: &str) -> Read<&'a Object> {
    match object.get(key) {
        Some(Value::Object(inner)) => Ok(inner),
        _ => Err(GraphError::missing(key)),
    }
}

fn each<'a>(object: &'a Object, key: &str) -> Read<Vec<&'a Object>> {
    match object.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            let objects: Option<Vec<_>> = list.iter().map(Value::as_object).collect();
            objects.ok_or_else(|| GraphError::parameter(format!("Param {key} must hold objects.")))
        }
        Some(_) => wrong(format!("Param {key} must be a list.")),
    }
}

fn words(object: &Object, key: &str, most: usize) -> Read<String> {
    let words = string(object, key)?.ok_or_else(|| GraphError::missing(key))?;
    if words.trim().is_empty() {
        return wrong(format!("Param {key} must be a non-empty string."));
    }
    if words.chars().count() > most {
        return wrong(format!(
            "Param {key} must be at most {most} characters long."
        ));
    }
    Ok(words.to_owned())
}

fn wrong<T>(details: impl Into<String>) -> Read<T> {
    Err(GraphError::parameter(details))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(kind: &str, content: Value) -> Read<Shown> {
        let message = json!({ kind: content });
        read(kind, message.as_object().unwrap())
    }

    #[test]
    fn what_stays_within_the_limits_is_shown() {
        let image = shown("image", json!({"id": "1", "caption": "Look"})).unwrap();
        assert_eq!(
            (image.text.as_str(), image.media.as_deref()),
            ("[image] Look", Some("1"))
        );
        let buttons = json!({"type": "button", "body": {"text": "Sure?"}, "action": {"buttons": [
            {"type": "reply", "reply": {"id": "0", "title": "Yes"}}]}});
        assert_eq!(
            shown("interactive", buttons).unwrap().text,
            "[button] Sure? [Yes]"
        );
    }

    #[test]
    fn what_does_not_is_refused() {
        let button = |title: &str| json!({"type": "reply", "reply": {"id": title, "title": title}});
        let asks = |buttons: Value| json!({"type": "button", "body": {"text": "?"}, "action": {"buttons": buttons}});
        for (kind, content) in [
            ("image", json!({"link": "https://example.org/a.png"})),
            ("image", json!({"id": "1", "caption": "x".repeat(1025)})),
            ("audio", json!({"id": "1", "caption": "no"})),
            ("location", json!({"latitude": "1", "longitude": 2})),
            ("contacts", json!([])),
            ("reaction", json!({"message_id": "wamid.1", "emoji": "yes"})),
            ("interactive", asks(json!([button(&"x".repeat(21))]))),
            ("interactive", asks(json!([button("a"), button("a")]))),
            ("interactive", asks(json!(["a", "b", "c", "d"].map(button)))),
            ("video_note", json!({})),
        ] {
            assert!(shown(kind, content.clone()).is_err(), "{kind} {content}");
        }
    }
}
