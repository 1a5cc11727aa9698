//! The one document that a person gets: what the tables hold of them and what their agent noted, as text.
//!
//! WhatsApp takes neither archives nor JSON (Meta docs: media, supported types), and every phone shows
//! text. Pure.

use serde_json::Value;

use super::notes::Note;
use crate::copy;

/// As the phone names it.
pub const NAME: &str = "my-data.txt";

/// `tables` as [`super::tables::all`] gives them; `notes` are none where there is no agent.
pub fn write(tables: &[(&'static str, Value)], notes: &[Note]) -> String {
    let mut out = String::new();
    for (name, table) in tables {
        heading(&mut out, name);
        match table {
            Value::Array(rows) if rows.is_empty() => out.push_str("-\n"),
            Value::Array(rows) => {
                let rows: Vec<_> = rows.iter().map(lines).collect();
                out.push_str(&rows.join("\n"));
            }
            row => out.push_str(&lines(row)),
        }
    }
    for note in notes {
        heading(&mut out, &note.name);
        match &note.text {
            Some(text) => out.push_str(&format!("{}\n", text.trim_end())),
            None => out.push_str(&format!("{}\n", copy::no_text(note.bytes))),
        }
    }
    out
}

fn heading(out: &mut String, name: &str) {
    let before = if out.is_empty() { "" } else { "\n" };
    out.push_str(&format!("{before}== {name} ==\n\n"));
}

/// One value a line; what is not there is left out.
fn lines(row: &Value) -> String {
    let Value::Object(row) = row else {
        return format!("{}\n", plain(row));
    };
    let there = row.iter().filter(|(_, value)| !value.is_null());
    there
        .map(|(name, value)| match value {
            Value::Array(items) => items
                .iter()
                .map(|item| format!("{name}: {}\n", plain(item)))
                .collect(),
            value => format!("{name}: {}\n", plain(value)),
        })
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            let there = there.map(|(_, value)| plain(value));
            there.collect::<Vec<_>>().join(" ")
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_reads_like_a_letter() {
        let tables = [
            (
                "person",
                json!({ "name": "Anna", "last_message": null,
                        "addresses": [{ "kind": "phone", "address": "436601", "until": null }] }),
            ),
            (
                "messages",
                json!([{ "from": "you", "text": "Good\nmorning" }, { "from": "us", "text": "Hi" }]),
            ),
            ("reminders", json!([])),
        ];
        let notes = [
            Note {
                name: "MEMORY.md".to_owned(),
                bytes: 10,
                text: Some("likes tea\n".to_owned()),
            },
            Note {
                name: "photo.png".to_owned(),
                bytes: 5,
                text: None,
            },
        ];
        let expected = format!(
            "== person ==\n\naddresses: 436601 phone\nname: Anna\n\n\
             == messages ==\n\nfrom: you\ntext: Good\nmorning\n\nfrom: us\ntext: Hi\n\n\
             == reminders ==\n\n-\n\n\
             == MEMORY.md ==\n\nlikes tea\n\n\
             == photo.png ==\n\n{}\n",
            copy::no_text(5)
        );
        assert_eq!(write(&tables, &notes), expected);
    }
}
