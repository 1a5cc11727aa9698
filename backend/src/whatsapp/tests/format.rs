//! What people see on WhatsApp for what agents write.

use proptest::prelude::*;

use super::costs_in_proportion;
use crate::whatsapp::format::to_whatsapp;

/// Markdown, and what is sent. `·` stands for the hair space that disarms a literal mark.
const EXAMPLES: &[(&str, &str)] = &[
    // Emphasis
    ("**bold**", "*bold*"),
    ("__bold__", "*bold*"),
    ("*italic* and _italic_", "_italic_ and _italic_"),
    ("~~gone~~", "~gone~"),
    ("***both***", "*_both_*"),
    ("**bold _and italic_**", "*bold _and italic_*"),
    ("**a**, (**b**) and \"**c**\".", "*a*, (*b*) and \"*c*\"."),
    ("**two\nlines**", "*two*\n*lines*"),
    (
        "**see [this](https://a.io/x) now**",
        "*see this* (https://a.io/x) *now*",
    ),
    // Literal marks
    ("2*3*4", "2*3*4"),
    ("2 * 3 * 4", "2 * 3 * 4"),
    ("2**3**4", "2**3**4"),
    (
        "snake_case and other_snake_case",
        "snake_case and other_snake_case",
    ),
    ("from 5~10 to 15~20", "from 5~10 to 15~20"),
    (r"\*not bold\*", "*·not bold*"),
    (r"\_not italic\_", "_·not italic_"),
    (r"**a\* b**", "*a·* b*"),
    ("*.txt and *.md", "*.txt and *.md"),
    ("5 * 3 is _not_ 16", "5 * 3 is _not_ 16"),
    ("a < b & c > d", "a < b & c > d"),
    ("Fish &amp; chips &lt;3", "Fish & chips <3"),
    ("这是**重点**内容", "这是重点内容"),
    // Blocks
    ("# Title", "*Title*"),
    ("## **Title** with _more_", "*Title with _more_*"),
    ("Title\n===\ntext", "*Title*\n\ntext"),
    ("one\n\ntwo\n\n\n\nthree", "one\n\ntwo\n\nthree"),
    ("line one\nline two", "line one\nline two"),
    ("hard  \nbreak\\\nagain", "hard\nbreak\nagain"),
    ("a\n\n---\n\nb", "a\n\n———\n\nb"),
    ("> quoted\n> twice", "> quoted\n> twice"),
    ("> one\n>\n> two\n\nafter", "> one\n> two\n\nafter"),
    ("> > deep", "> deep"),
    // Lists
    ("- a\n- b", "- a\n- b"),
    ("* a\n\n* b", "- a\n- b"),
    ("+ **a**: x\n+ b", "- *a*: x\n- b"),
    ("1. a\n2. b", "1. a\n2. b"),
    ("7) a\n8) b", "7. a\n8. b"),
    ("- a\n  - b\n    - c\n- d", "- a\n  - b\n    - c\n- d"),
    (
        "1. a\n   more\n\n   and more\n2. b",
        "1. a\n  more\n  and more\n2. b",
    ),
    ("- [ ] open\n- [x] done", "- ☐ open\n- ☑ done"),
    ("- a\n\ntext\n\n- b", "- a\n\ntext\n\n- b"),
    ("> - a\n> - b", "> - a\n> - b"),
    ("-\n- b", "-\n- b"),
    // Links and images
    ("[site](https://a.io/x_y_z)", "site (https://a.io/x_y_z)"),
    ("<https://a.io>", "https://a.io"),
    ("[https://a.io](https://a.io/)", "https://a.io/"),
    ("[a.io](https://a.io)", "https://a.io"),
    ("<me@a.io>", "me@a.io"),
    ("[mail](mailto:me@a.io)", "mail (me@a.io)"),
    ("[call](tel:+4930123)", "call (+4930123)"),
    ("[up](#top)", "up"),
    ("![a cat](https://a.io/c.png)", "a cat (https://a.io/c.png)"),
    ("![](https://a.io/c.png)", "https://a.io/c.png"),
    (
        "https://a.io/*x*/_y_?a=1&b=2",
        "https://a.io/*x*/_y_?a=1&b=2",
    ),
    // Code
    ("`a * b * c`", "`a * b * c`"),
    ("``a ` b``", "```a ` b```"),
    (
        "```rust\nfn a(_: *const u8) {}\n```",
        "```\nfn a(_: *const u8) {}\n```",
    ),
    ("~~~\n**kept**\n~~~", "```\n**kept**\n```"),
    ("- item\n\n  ```\n  code\n  ```", "- item\n```\ncode\n```"),
    ("````\n```\ninner\n```\n````", "```\ninner\n```"),
    ("```\nnever closed", "```\nnever closed\n```"),
    ("**use `x`**", "*use `x`*"),
    // Tables
    (
        "|A|B|\n|-|-|\n|1|22|\n|333|4|",
        "```\nA    B\n1    22\n333  4\n```",
    ),
    (
        "|Name|Where|\n|-|-|\n|**Zoë**|[map](https://maps.example/abcdef)|\n|Ann||",
        "Name: *Zoë*\nWhere: map (https://maps.example/abcdef)\n\nName: Ann",
    ),
    ("|नाम|B|\n|-|-|\n|राम|2|", "नाम: राम\nB: 2"),
    // HTML and directives
    ("a<br>b <b>c</b> <span class=\"x\">d</span>", "a\nb c d"),
    ("Vec<String> and <your-name>", "Vec<String> and <your-name>"),
    (
        "<details><summary>More</summary>\ntext\n</details>",
        "More\ntext",
    ),
    ("seen <!-- not seen -->", "seen"),
    ("[[reply_to_current]] # Title", "*Title*"),
    ("[[reply_to:abc-1]]\nhello", "hello"),
    ("hello [[audio_as_voice]]", "hello"),
    (
        "[[wiki]] `[[reply_to_current]]`",
        "[[wiki]] `[[reply_to_current]]`",
    ),
    // Scripts
    ("**שלום** עולם", "*שלום* עולם"),
    ("_नमस्ते_ 👩‍👩‍👧‍👦 **🎉**", "_नमस्ते_ 👩‍👩‍👧‍👦 *🎉*"),
    ("", ""),
    (" \n\n ", ""),
    ("a\0b", "ab"),
];

#[test]
fn every_example_reads_as_expected() {
    let mut wrong = Vec::new();
    for (markdown, expected) in EXAMPLES {
        let got = to_whatsapp(markdown).replace('\u{200A}', "·");
        if got != *expected {
            wrong.push(format!(
                "{markdown:?}\n  expected {expected:?}\n  got      {got:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn hostile_input_costs_in_proportion_to_its_length() {
    for piece in [
        "[[", "> ", "*a", "**_", "- ", "<", "![", "`", "|a", "<!--", "~~a", "\\*a ",
    ] {
        costs_in_proportion(piece, |text| drop(to_whatsapp(text)));
    }
}

proptest! {
    #[test]
    fn anything_is_formatted_and_holds_no_nul(text in any::<String>()) {
        prop_assert!(!to_whatsapp(&text).contains('\0'));
    }

    #[test]
    fn markdown_of_any_shape_is_formatted(
        text in r"([*_~`#>\-+|\[\]()<>!\\ \n1.:a/é]|```|\*\*|https://|<br>|- \[ \] ){0,120}",
    ) {
        prop_assert!(!to_whatsapp(&text).contains('\0'));
    }

    #[test]
    fn code_survives_verbatim(code in r"[a-z*_~<>&#\[\]()|\\\- ]{0,20}[a-z*_]\n?[a-z*_ ]{0,20}[a-z*_]") {
        let text = format!("Look:\n\n````py\n{code}\n````\n\nand **that**");
        let expected = format!("Look:\n\n```\n{code}\n```\n\nand *that*");
        prop_assert_eq!(to_whatsapp(&text), expected);
        if !code.contains('\n') {
            let inline = to_whatsapp(&format!("see `{code}` here"));
            let ticked = format!("`{code}`");
            prop_assert!(inline.contains(&ticked), "{}", inline);
        }
    }

    #[test]
    fn plain_text_stays_as_it_is(
        words in prop::collection::vec(r"[A-Za-zäßשनम好🎉]{1,8}[,.!?]?", 1..40),
        gaps in prop::collection::vec(prop::sample::select(vec![" ", " ", "\n", "\n\n"]), 40),
    ) {
        let text: String = words.iter().zip(&gaps).flat_map(|(word, gap)| [word.as_str(), gap]).collect();
        let text = text.trim();
        prop_assert_eq!(to_whatsapp(text), text);
    }
}
