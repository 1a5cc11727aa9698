//! What may be said in a group: words, files and templates, and nothing to tap (Meta docs: groups, sending
//! messages). Everything else goes as words that say the same. Pure; called by `client` as it sends.

use std::borrow::Cow;

use super::{outgoing::Outgoing, split::MAX_TEXT_CHARS};

/// The message as a group can have it.
pub fn fit(message: &Outgoing) -> Cow<'_, Outgoing> {
    match words(message) {
        Some(words) => Cow::Owned(Outgoing::text(
            words.chars().take(MAX_TEXT_CHARS).collect::<String>(),
        )),
        None => Cow::Borrowed(message),
    }
}

/// `None` of what may go as it is.
fn words(message: &Outgoing) -> Option<String> {
    match message {
        Outgoing::Text { .. } | Outgoing::File { .. } | Outgoing::Template { .. } => None,
        Outgoing::Place {
            latitude,
            longitude,
            name,
            address,
        } => {
            let named = [name, address].into_iter().flatten().cloned();
            let map = format!("https://maps.google.com/?q={latitude},{longitude}");
            Some(named.chain([map]).collect::<Vec<_>>().join("\n"))
        }
        Outgoing::Contact {
            name,
            phones,
            emails,
        } => {
            let lines = [name].into_iter().chain(phones).chain(emails);
            Some(lines.cloned().collect::<Vec<_>>().join("\n"))
        }
        Outgoing::Reaction { emoji, .. } => Some(emoji.clone()),
        Outgoing::Buttons { body, titles } => Some(listed(body, titles.iter().cloned())),
        Outgoing::List { body, rows } => {
            let rows = rows.iter().map(|row| match &row.description {
                Some(description) => format!("{}: {description}", row.title),
                None => row.title.clone(),
            });
            Some(listed(body, rows))
        }
        Outgoing::Link { body, title, url } => Some(format!("{body}\n\n{title}: {url}")),
    }
}

/// As Markdown's lists go out.
fn listed(body: &str, items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.map(|item| format!("- {item}")).collect();
    format!("{body}\n\n{}", items.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatsapp::{media::Kind, outgoing::Row};

    fn text(message: &Outgoing) -> String {
        match fit(message).into_owned() {
            Outgoing::Text { body } => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_be_tapped_becomes_words_that_say_the_same() {
        let owned = |text: &str| text.to_owned();
        let place = |name: Option<&str>| Outgoing::Place {
            latitude: 48.2,
            longitude: 16.37,
            name: name.map(owned),
            address: None,
        };
        assert_eq!(text(&place(None)), "https://maps.google.com/?q=48.2,16.37");
        assert_eq!(
            text(&place(Some("Café Luna"))),
            "Café Luna\nhttps://maps.google.com/?q=48.2,16.37"
        );
        let contact = Outgoing::Contact {
            name: owned("Bo"),
            phones: vec![owned("+49 30 1")],
            emails: vec![owned("bo@example.org")],
        };
        assert_eq!(text(&contact), "Bo\n+49 30 1\nbo@example.org");
        let reaction = Outgoing::Reaction {
            to: owned("wamid.1"),
            emoji: owned("👍"),
        };
        assert_eq!(text(&reaction), "👍");
        let buttons = Outgoing::Buttons {
            body: owned("When?"),
            titles: vec![owned("Today"), owned("Never")],
        };
        assert_eq!(text(&buttons), "When?\n\n- Today\n- Never");
        let row = |title: &str, description: Option<&str>| Row {
            title: owned(title),
            description: description.map(owned),
        };
        let list = Outgoing::List {
            body: owned("Which?"),
            rows: vec![row("Tea", Some("green")), row("Milk", None)],
        };
        assert_eq!(text(&list), "Which?\n\n- Tea: green\n- Milk");
        let link = Outgoing::Link {
            body: owned("Look"),
            title: owned("Menu"),
            url: owned("https://example.org/"),
        };
        assert_eq!(text(&link), "Look\n\nMenu: https://example.org/");
    }

    #[test]
    fn words_files_and_templates_stay_what_they_are() {
        for message in [
            Outgoing::text("Hello"),
            Outgoing::File {
                kind: Kind::Voice,
                id: "1".to_owned(),
                caption: None,
                name: None,
            },
            Outgoing::Template {
                name: "a".to_owned(),
                language: "en".to_owned(),
            },
        ] {
            assert!(*fit(&message) == message, "{message:?}");
        }
    }
}
