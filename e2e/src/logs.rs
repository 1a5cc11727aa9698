//! The product's log, one JSON object per line, read back after a story.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use memchr::memmem;
use serde_json::Value;

/// A log file that is being written by the product.
#[derive(Clone, Debug)]
pub struct Logs(PathBuf);

impl Logs {
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub fn text(&self) -> anyhow::Result<String> {
        let bytes = std::fs::read(&self.0).context("read the product's log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How often a line says this.
    pub fn count(&self, what: &str) -> anyhow::Result<usize> {
        Ok(self
            .text()?
            .lines()
            .filter(|line| line.contains(what))
            .count())
    }

    /// Fails on a line at level ERROR, and on one that is no log line at all (a panic, a message of
    /// the loader), unless it says something that the story expects. While the story kept something
    /// away that everything needs, any error is expected, but nothing that is no log line.
    pub fn has_no_errors_but(
        &self,
        expected: &[&str],
        outages: &[Range<DateTime<Utc>>],
    ) -> anyhow::Result<()> {
        let text = self.text()?;
        let wrong: Vec<_> = text
            .lines()
            .filter(|line| is_error(line, outages))
            .filter(|line| !expected.iter().any(|what| line.contains(what)))
            .collect();
        anyhow::ensure!(
            wrong.is_empty(),
            "errors in the product's log:\n{}",
            wrong.join("\n")
        );
        Ok(())
    }

    /// The end of the log, for whoever has to find out what went wrong.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text().unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

fn is_error(line: &str, outages: &[Range<DateTime<Utc>>]) -> bool {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        return !line.trim().is_empty();
    };
    let at: Option<DateTime<Utc>> = line["timestamp"].as_str().and_then(|at| at.parse().ok());
    let in_outage = at.is_some_and(|at| outages.iter().any(|outage| outage.contains(&at)));
    line["level"] == "ERROR" && !in_outage
}

/// Fails if a text has one of these words in it; it names which, not where it may be read.
pub fn has_none_of(place: &str, text: &[u8], words: &[String]) -> anyhow::Result<()> {
    let found: Vec<_> = words
        .iter()
        .filter(|word| contains(text, word.as_bytes()))
        .collect();
    anyhow::ensure!(found.is_empty(), "{place} contains {found:?}");
    Ok(())
}

pub fn contains(text: &[u8], word: &[u8]) -> bool {
    !word.is_empty() && memmem::find(text, word).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_counts_outside_of_an_outage_and_a_panic_always_does() {
        let at = |time: &str| time.parse::<DateTime<Utc>>().unwrap();
        let outage = [at("2026-11-21T03:00:00Z")..at("2026-11-21T03:01:00Z")];
        let line = |time| format!(r#"{{"timestamp":"{time}","level":"ERROR"}}"#);
        assert!(!is_error(&line("2026-11-21T03:00:30.5Z"), &outage));
        assert!(is_error(&line("2026-11-21T03:01:30.5Z"), &outage));
        assert!(is_error("thread 'main' panicked", &outage));
        assert!(!is_error(
            r#"{"timestamp":"2026-11-21T05:00:00Z","level":"INFO"}"#,
            &outage
        ));
    }

    #[test]
    fn a_word_is_found_wherever_it_stands() {
        assert!(contains(b"aab", b"ab"));
        assert!(!contains(b"aab", b"ba"));
        assert!(!contains(b"aab", b""));
    }
}
