//! Tags that are not Markdown: HTML, and OpenClaw's directives.

use std::borrow::Cow;

/// HTML that only shapes text and says nothing by itself. Any other tag is shown as it is: more
/// often than not `<name>` or `Vec<String>` is meant to be read.
const SHAPING: &[&str] = &[
    "a",
    "abbr",
    "b",
    "blockquote",
    "center",
    "code",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "s",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];

/// What OpenClaw takes out of a reply for channels it serves itself.
const DIRECTIVES: &[&str] = &["reply_to_current", "audio_as_voice"];
const DIRECTIVE_WITH_ID: &str = "reply_to:";
const MAX_DIRECTIVE_BYTES: usize = 256;

/// Takes shaping tags and comments away; `<br>` and `<hr>` become a line break.
pub fn without_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = if rest.starts_with("<!--") {
            rest.find("-->").map(|at| at + 3)
        } else {
            rest.find('>').map(|at| at + 1)
        };
        let Some(end) = end else { break };
        let (tag, tail) = rest.split_at(end);
        let inner = tag.trim_start_matches(['<', '/']);
        let name = inner
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "br" | "hr" => out.push_str(if tail.starts_with('\n') { "" } else { "\n" }),
            name if SHAPING.contains(&name) || tag.starts_with("<!--") => {}
            _ => out.push_str(tag),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Directives at the very start go before the parser sees the text, or `[[…]] # Title` would not be
/// a title.
pub fn without_leading_directives(text: &str) -> &str {
    let mut rest = text;
    while let Some(length) = directive(rest.trim_start()) {
        rest = &rest.trim_start()[length..];
        rest = rest.trim_start_matches([' ', '\t']);
    }
    rest
}

/// Directives anywhere in plain text; code is left alone by the caller.
pub fn without_directives(text: &str) -> Cow<'_, str> {
    if !text.contains("[[") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("[[") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let length = directive(tag);
        if length.is_none() {
            out.push_str("[[");
        }
        rest = &tag[length.unwrap_or(2)..];
        if length.is_some() && (out.is_empty() || out.ends_with(char::is_whitespace)) {
            rest = rest.trim_start();
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The length of the directive that `text` begins with.
fn directive(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("[[")?;
    let pairs = inner.as_bytes().windows(2).take(MAX_DIRECTIVE_BYTES);
    let end = pairs.into_iter().position(|pair| pair == b"]]")?;
    let name = inner[..end].trim();
    let with_id = name
        .strip_prefix(DIRECTIVE_WITH_ID)
        .is_some_and(|id| !id.contains(['[', '\n']));
    (with_id || DIRECTIVES.contains(&name)).then_some(end + 4)
}
