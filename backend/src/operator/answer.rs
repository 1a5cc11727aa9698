//! What a command says: short aligned lines for people, one JSON document for scripts.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

pub struct Answer {
    pub text: String,
    pub json: Value,
    /// Whether the exit code is 0.
    pub good: bool,
}

impl Answer {
    pub fn new(text: String, json: Value) -> Self {
        Self {
            text,
            json,
            good: true,
        }
    }
}

/// A command that cannot be carried out, and what the operator can do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    pub code: &'static str,
    pub what: String,
    pub todo: &'static str,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, what, todo } = refusal;
        Self {
            text: format!("{what}\n{todo}"),
            json: json!({ "error": { "code": code, "what": what, "do": todo } }),
            good: false,
        }
    }
}

/// Of every command that has to find, seal or open something of a person's.
pub fn no_master_key() -> Refusal {
    Refusal {
        code: "no-master-key",
        what: "Without CLAWKAKA_MASTER_KEY nobody can be found, and nothing sealed or opened."
            .to_owned(),
        todo: "Run this where the worker runs: ./infra/operator.sh does.",
    }
}

/// A reader that went away (`| head`) is no error of ours. Without text, all has been said already.
pub fn print(answer: &Answer, as_json: bool) {
    let text = match as_json {
        true => serde_json::to_string_pretty(&answer.json).unwrap_or_default(),
        false => answer.text.trim_end().to_owned(),
    };
    if !text.is_empty() {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Columns under their heads, each as wide as it must be.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<_> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one pair a line; pairs without a value are left out.
pub fn pairs(pairs: &[(&str, Option<String>)]) -> String {
    let rows = pairs
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let width = rows.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.map(|(name, value)| format!("{name:width$}  {value}\n"))
        .collect()
}

/// For people: `2026-11-21 03:12:16 (4 min ago)`.
pub fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", at.format("%Y-%m-%d %H:%M:%S"), ago(at, now))
}

/// For people, in columns: `4 min ago`, `in 3 h`.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    let span = match seconds.abs() {
        span @ 0..=119 => format!("{span} s"),
        span @ 120..=7199 => format!("{} min", span / 60),
        span @ 7200..=172_799 => format!("{} h", span / 3600),
        span => format!("{} days", span / 86_400),
    };
    match seconds < 0 {
        true => format!("in {span}"),
        false => format!("{span} ago"),
    }
}

/// For scripts.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn columns_stand_under_their_heads() {
        let rows = [
            vec!["a".to_owned(), "long cell".to_owned(), "x".to_owned()],
            vec!["bcd".to_owned(), String::new(), "y".to_owned()],
        ];
        let expected = "ID   WHAT       Z\na    long cell  x\nbcd             y\n";
        assert_eq!(table(&["ID", "WHAT", "Z"], &rows), expected);
    }

    #[test]
    fn spans_are_short_and_say_their_direction() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        assert_eq!(ago(now - TimeDelta::seconds(40), now), "40 s ago");
        assert_eq!(ago(now - TimeDelta::minutes(40), now), "40 min ago");
        assert_eq!(ago(now + TimeDelta::hours(40), now), "in 40 h");
        assert_eq!(ago(now - TimeDelta::days(40), now), "40 days ago");
    }
}
