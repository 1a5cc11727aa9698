//! Makes lines that a sandbox wrote fit for an operator's terminal: nothing in them acts on it, and
//! what looks like a secret or a phone number is not shown. Pure.
//!
//! An agent that means to show a secret can disguise it; whoever writes one by accident does not.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Longer ones are cut: bytes that are kept of a line, characters that are shown of it.
const MAX_BYTES: usize = 8 << 10;
const MAX_SHOWN: usize = 2_000;
const MARK: &str = "[redacted]";

/// Complete sequences first, so that no halves of them stay as text: CSI, strings, all others.
static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
});
/// Whatever has no shape of its own: control characters, writing directions, invisible ones.
static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}&&[^\t]]"));
static SHOWN_AS_MARK: LazyLock<[Regex; 5]> = LazyLock::new(|| {
    [
        pattern(r#"(?i)\bauthorization["']?\s*[:=]\s*["']?[^"'\r\n]+"#),
        pattern(r"(?i)\bbearer\s+\S+"),
        pattern(r"\beyJ[\w-]+(?:\.[\w-]+)*"),
        pattern(r"\b(?:sk|pk|gh[a-z])[-_][\w-]{8,}"),
        pattern("[0-9a-fA-F]{32,}"),
    ]
});
/// The name stays, so that one sees what it was.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)((?:token|secret|passw(?:or)?d|api[-_ ]?key|private[-_ ]?key)["']?\s*[:=]\s*["']?)[^\s"',;)}\]]+"#,
    )
});
static BASE64: LazyLock<Regex> = LazyLock::new(|| pattern("[A-Za-z0-9+/_=-]{40,}"));
static NUMBERS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\+\p{Nd}(?:[ ().\-]{0,2}\p{Nd}){7,}|\p{Nd}{8,}"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("patterns are constants, and tested")
}

/// Joins pieces of one stream to lines.
#[derive(Default)]
pub struct Lines {
    begun: Vec<u8>,
    cut: usize,
}

impl Lines {
    /// The lines that end in this piece.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Line> {
        let mut done = Vec::new();
        let mut parts = piece.split(|&byte| byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = MAX_BYTES.saturating_sub(self.begun.len()).min(part.len());
            self.begun.extend_from_slice(&part[..room]);
            self.cut += part.len() - room;
            if parts.peek().is_some() {
                done.push(self.take());
            }
        }
        done
    }

    /// What came after the last line's end.
    pub fn rest(mut self) -> Option<Line> {
        (!self.begun.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Line {
        Line {
            bytes: std::mem::take(&mut self.begun),
            cut: std::mem::take(&mut self.cut),
        }
    }
}

/// As the sandbox wrote it, without its end.
pub struct Line {
    bytes: Vec<u8>,
    /// Bytes that were not kept.
    cut: usize,
}

impl Line {
    /// `secrets` are those we know word by word.
    pub fn clean(&self, secrets: &[&str]) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = ESCAPES.replace_all(&text, "");
        let mut text = INVISIBLE.replace_all(&text, "").into_owned();
        for secret in secrets {
            text = text.replace(secret, MARK);
        }
        for shape in SHOWN_AS_MARK.iter() {
            text = shape.replace_all(&text, MARK).into_owned();
        }
        text = NAMED
            .replace_all(&text, format!("${{1}}{MARK}"))
            .into_owned();
        text = BASE64.replace_all(&text, mark_random).into_owned();
        text = NUMBERS.replace_all(&text, "[number]").into_owned();
        match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => {
                let left = text.len() - end + self.cut;
                format!("{} … ({left} bytes more)", &text[..end])
            }
            None => text,
        }
    }
}

/// Paths and rulers are as long as keys, but not as mixed.
fn mark_random(found: &Captures<'_>) -> String {
    let text = &found[0];
    let classes: [fn(&u8) -> bool; 3] = [
        u8::is_ascii_uppercase,
        u8::is_ascii_lowercase,
        u8::is_ascii_digit,
    ];
    let mixed = classes
        .iter()
        .filter(|class| text.bytes().any(|byte| class(&byte)))
        .count();
    let is_random = mixed >= if text.contains('/') { 3 } else { 2 };
    if is_random { MARK } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(text: &str) -> String {
        let mut lines = Lines::default();
        let mut all = lines.push(text.as_bytes());
        all.extend(lines.rest());
        let all: Vec<_> = all
            .iter()
            .map(|line| line.clean(&["known-secret"]))
            .collect();
        all.join("\n")
    }

    #[test]
    fn secrets_and_numbers_are_not_shown() {
        let hex = "0123456789abcdef".repeat(4);
        for (secret, line) in [
            (hex.as_str(), format!("token {hex} taken")),
            (&hex[..32], format!("x{}y", &hex[..32])),
            ("known-secret", "it is known-secret!".to_owned()),
            ("abc.def", "Bearer abc.def".to_owned()),
            ("dXNlcjpw", "authorization: Basic dXNlcjpw".to_owned()),
            ("hunter2", r#"{"password":"hunter2","n":1}"#.to_owned()),
            ("s3cr3t", "OPENCLAW_GATEWAY_TOKEN=s3cr3t next".to_owned()),
            ("abcd1234efgh", "with sk-abcd1234efgh".to_owned()),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx",
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2ln".to_owned(),
            ),
            (
                "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4MTIz",
                "k Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4MTIz".to_owned(),
            ),
            ("16505551234", "call 16505551234".to_owned()),
            ("555 123", "call +1 (650) 555 1234 now".to_owned()),
            (
                "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}\u{668}",
                "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}\u{668}".to_owned(),
            ),
        ] {
            let shown = clean(&line);
            assert!(!shown.contains(secret), "{secret} is in: {shown}");
        }
        assert_eq!(
            clean("with \"token\": \"abc\", done"),
            "with \"token\": \"[redacted]\", done"
        );
    }

    #[test]
    fn what_an_operator_needs_stays() {
        for line in [
            "2026-11-21T07:00:38.123+00:00 [gateway] ready in 4210 ms, port 18789",
            "    at run (/app/node_modules/openclaw/dist/gateway/server/connection/handlers.js:120:7)",
            "session 0198c0de-89ab-7def-8123-456789abcdef opened",
            "----------------------------------------------------------------",
            "tokens: 1204\tof 2000000",
            "Grüße 👋",
        ] {
            assert_eq!(clean(line), line);
        }
    }

    #[test]
    fn nothing_acts_on_the_terminal() {
        let shown = clean(
            "\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b]52;c;aGk=\x1b\\a\u{202e}b\u{9b}2Jc\x08\rd\te",
        );
        assert_eq!(shown, "red ab2Jcd\te");
    }

    #[test]
    fn long_lines_are_cut_and_broken_ones_joined() {
        let mut lines = Lines::default();
        assert!(lines.push(b"be").is_empty());
        let done = lines.push(b"gun\nnext\nlast");
        let done: Vec<_> = done.iter().map(|line| line.clean(&[])).collect();
        assert_eq!(done, ["begun", "next"]);
        assert_eq!(lines.rest().unwrap().clean(&[]), "last");

        let long = clean(&"x y".repeat(100_000));
        assert!(long.len() < MAX_SHOWN + 40, "{}", long.len());
        assert!(
            long.ends_with("(298000 bytes more)"),
            "{}",
            &long[MAX_SHOWN..]
        );
    }

    proptest! {
        #[test]
        fn whatever_a_sandbox_writes_no_control_character_comes_through(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut lines = Lines::default();
            let mut all = lines.push(&bytes);
            all.extend(lines.rest());
            for line in all {
                let shown = line.clean(&[]);
                prop_assert!(shown.chars().all(|c| c == '\t' || !c.is_control()), "{shown:?}");
            }
        }
    }
}
