//! Long texts in several messages.

use proptest::prelude::*;

use super::costs_in_proportion;
use crate::whatsapp::split::{MAX_TEXT_CHARS, split};

#[test]
fn a_short_text_is_one_part_and_an_empty_one_none() {
    assert_eq!(split("hello", MAX_TEXT_CHARS), ["hello"]);
    assert!(split("", MAX_TEXT_CHARS).is_empty());
    assert!(split(" \n ", MAX_TEXT_CHARS).is_empty());
    let full = "ä".repeat(MAX_TEXT_CHARS);
    assert_eq!(split(&full, MAX_TEXT_CHARS), [full]);
}

#[test]
fn a_cut_falls_where_a_reader_would_pause() {
    let rows = [
        (
            "One sentence here.\n\nAnother one\nover two lines.",
            "One sentence here.",
        ),
        (
            "Paragraph one is a line\nand this is the next line",
            "Paragraph one is a line",
        ),
        (
            "A sentence of words. And one that is longer",
            "A sentence of words.",
        ),
        (
            "these are only words without any ending at all",
            "these are only words without any",
        ),
        (
            "这是一个很长的句子没有空格也没有换行但是有句号。然后还有另外一个句子在后面继续写下去",
            "这是一个很长的句子没有空格也没有换行但是有句号。",
        ),
    ];
    for (text, first) in rows {
        assert_eq!(split(text, 40)[0], first);
    }
}

#[test]
fn signs_of_several_characters_stay_whole() {
    let rows = ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "e\u{301}\u{323}", "क्षि", "1️⃣", "நி", "שָׁ"];
    for sign in rows {
        let text = sign.repeat(60);
        let parts = split(&text, 41);
        assert!(parts.len() > 1);
        for part in &parts {
            assert_eq!(part.replace(sign, ""), "", "{sign} was cut");
        }
        assert_eq!(parts.concat(), text);
    }
}

#[test]
fn a_fence_is_closed_and_opened_again() {
    let code: String = (0..20).map(|n| format!("    line {n}\n")).collect();
    let parts = split(
        &format!("Look at this nice piece of code:\n\n```\n{code}```\n\nDone."),
        60,
    );
    assert_eq!(parts[0], "Look at this nice piece of code:");
    for part in &parts {
        assert_eq!(part.matches("```").count() % 2, 0, "{part}");
    }
    assert!(parts[2].starts_with("```\n    line"), "{}", parts[2]);
    let all = parts.join("\n").replace("```", "");
    let seen: Vec<&str> = all.lines().filter(|line| line.contains("line")).collect();
    assert_eq!(seen, code.lines().collect::<Vec<_>>());
}

#[test]
fn cutting_costs_in_proportion_to_the_length() {
    for piece in ["word ", "\n", "```\n", "x", "👩‍", "`", "a.\n\n"] {
        costs_in_proportion(piece, |text| drop(split(text, MAX_TEXT_CHARS)));
    }
}

fn letters(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '`')
        .collect()
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_too_long(text in any::<String>(), limit in 0..200_usize) {
        let parts = split(&text, limit);
        for part in &parts {
            prop_assert!(part.chars().count() <= limit.max(32));
            prop_assert!(!part.trim().is_empty());
        }
        prop_assert_eq!(letters(&parts.concat()), letters(&text));
    }

    #[test]
    fn text_with_fences_keeps_them_balanced(
        pieces in prop::collection::vec(r"[a-z .\n]{0,40}", 1..12), limit in 32..120_usize,
    ) {
        let mut text = pieces.join("\n```\n");
        if pieces.len() % 2 == 0 {
            text.push_str("\n```");
        }
        let parts = split(&text, limit);
        for part in &parts {
            prop_assert!(part.chars().count() <= limit);
            prop_assert_eq!(part.matches("```").count() % 2, 0, "{}", part);
        }
        prop_assert_eq!(letters(&parts.concat()), letters(&text));
    }
}
