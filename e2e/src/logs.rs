//! The product's log, one JSON object per line, read back after a story.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
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
    /// the loader), unless it says something that the story expects.
    pub fn has_no_errors_but(&self, expected: &[&str]) -> anyhow::Result<()> {
        let text = self.text()?;
        let wrong: Vec<_> = text
            .lines()
            .filter(|line| is_error(line) && !expected.iter().any(|what| line.contains(what)))
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

fn is_error(line: &str) -> bool {
    match serde_json::from_str::<Value>(line) {
        Ok(line) => line["level"] == "ERROR",
        Err(_) => !line.trim().is_empty(),
    }
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
    fn a_word_is_found_wherever_it_stands() {
        assert!(contains(b"aab", b"ab"));
        assert!(!contains(b"aab", b"ba"));
        assert!(!contains(b"aab", b""));
    }
}
