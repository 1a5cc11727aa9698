//! Which groups are served on a line, and the word with which somebody in one speaks to us and not to the
//! others. Pure.
//!
//! What an operator writes about it: ids as `clawkaka line groups` shows them, and a word.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a message in a group begins with that is for us, unless an operator chose another word.
pub const PREFIX: &str = "@assistant";
/// What takes every group away again, and so is none.
pub const NONE: &str = "none";
/// Each message of a group is held against them.
const MAX_GROUPS: usize = 100;
/// WhatsApp's are some 20 to 80 characters long, and opaque.
const MAX_ID_BYTES: usize = 256;
const MAX_PREFIX_CHARS: usize = 32;

/// By WhatsApp's ids of them. An operator's settings, not what a person told us, so they stand as they were
/// written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Groups(Vec<String>);

impl Groups {
    pub fn serves(&self, group: &str) -> bool {
        self.0.iter().any(|served| served == group)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Groups {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case(NONE) {
            return Ok(Self::default());
        }
        let mut groups = Vec::new();
        for id in text.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            let clean = !id.chars().any(|c| c.is_control() || c.is_whitespace());
            if !clean || id.len() > MAX_ID_BYTES {
                return Err(
                    "write ids of groups with commas between them, as `clawkaka line groups` shows them"
                        .to_owned(),
                );
            }
            if !groups.iter().any(|known| known == id) {
                groups.push(id.to_owned());
            }
        }
        match groups.len() > MAX_GROUPS {
            true => Err(format!("at most {MAX_GROUPS} groups on a number")),
            false => Ok(Self(groups)),
        }
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

pub fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=MAX_PREFIX_CHARS).contains(&text.chars().count());
    match fits && !text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "write one word of at most {MAX_PREFIX_CHARS} characters, such as {PREFIX}"
        )),
    }
}

/// What a message says to us: what follows the prefix, in capitals or not, as a word of its own. `None`: it
/// does not speak to us.
pub fn said_to_us<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let text = text.trim_start();
    let prefix = prefix.to_lowercase();
    // In small letters a text is as long in characters or longer, so that no more of it have to be looked at.
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let mut ends = ends.take(prefix.chars().count());
    let end = ends.find(|end| text[..*end].to_lowercase() == prefix)?;
    let rest = &text[end..];
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    if rest.starts_with(goes_on) && prefix.ends_with(goes_on) {
        return None;
    }
    let between = |c: char| c.is_whitespace() || matches!(c, ',' | ':' | ';');
    Some(rest.trim_start_matches(between).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_counts_at_the_beginning_and_by_itself() {
        for (text, said) in [
            ("@assistant what is up?", "what is up?"),
            ("  @Assistant, what is up?", "what is up?"),
            ("@ASSISTANT:what\nis up?\n", "what\nis up?"),
            ("@assistant", ""),
            ("@assistant?", "?"),
            ("@assistant!!", "!!"),
        ] {
            assert_eq!(said_to_us(text, PREFIX), Some(said), "{text:?}");
        }
        for text in [
            "",
            "@assist",
            "assistant, what is up?",
            "ask @assistant",
            "@assistants",
            "@assistant_2",
            "@assistant2 hi",
            "@assistantä",
            "> @assistant",
        ] {
            assert_eq!(said_to_us(text, PREFIX), None, "{text:?}");
        }
    }

    #[test]
    fn the_word_may_be_of_any_script_or_a_sign() {
        assert_eq!(said_to_us("ПОМОЩНИК: привет", "помощник"), Some("привет"));
        // Its small letter has two characters.
        assert_eq!(said_to_us("İBO hey", "i\u{307}bo"), Some("hey"));
        assert_eq!(said_to_us("!now", "!"), Some("now"));
        assert_eq!(said_to_us("ai", "ai"), Some(""));
        assert_eq!(said_to_us("ain't", "ai"), None);
    }

    #[test]
    fn groups_are_ids_with_commas_between() {
        let groups: Groups = " 1203@g.us, Y2FwaV9n==,,1203@g.us ".parse().unwrap();
        assert!(groups.serves("1203@g.us") && groups.serves("Y2FwaV9n=="));
        assert!(!groups.serves("y2fwav9n==") && !groups.serves(""));
        assert_eq!(groups.to_string(), "1203@g.us,Y2FwaV9n==");
        for none in ["", " ", "none", "None"] {
            assert!(none.parse::<Groups>().unwrap().is_empty(), "{none:?}");
        }
        for wrong in ["a b", "a\nb", &"x".repeat(257), &many(101)] {
            assert!(wrong.parse::<Groups>().is_err(), "{wrong:?}");
        }
        assert!(many(100).parse::<Groups>().is_ok());
    }

    fn many(count: usize) -> String {
        let ids: Vec<_> = (0..count).map(|id| id.to_string()).collect();
        ids.join(",")
    }

    #[test]
    fn a_prefix_is_one_short_word() {
        assert_eq!(prefix(" @Bot ").as_deref(), Ok("@Bot"));
        for text in ["", " ", "a b", "a\nb", &"x".repeat(33)] {
            assert!(prefix(text).is_err(), "{text:?}");
        }
    }
}
