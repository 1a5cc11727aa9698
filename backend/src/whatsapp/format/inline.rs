//! One paragraph: styled spans in, lines with WhatsApp's marks out.
//!
//! A mark counts on WhatsApp only if it hugs its text, stands on a word's border and is closed on
//! the same line. So spans are written line by line; blanks move outside; inside a word a mark is
//! written as it was typed (`2*3*4`) or left out. A literal mark that WhatsApp would take for a
//! real one gets a hair space on its inner side, which no longer hugs and is hardly seen.

/// Narrow, but white space to everybody.
const HAIR_SPACE: char = '\u{200A}';

/// One kind of emphasis: how deep we are in it, and how it was typed.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Mark {
    depth: u16,
    typed: &'static str,
}

impl Mark {
    pub fn open(&mut self, typed: &'static str) {
        if self.depth == 0 {
            self.typed = typed;
        }
        self.depth = self.depth.saturating_add(1);
    }

    pub fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
pub struct Style {
    pub bold: Mark,
    pub italic: Mark,
    pub strike: Mark,
}

type MarkOf = fn(&Style) -> Mark;

/// Outermost first.
const MARKS: [(MarkOf, char); 3] = [
    (|style| style.bold, '*'),
    (|style| style.italic, '_'),
    (|style| style.strike, '~'),
];

#[derive(Clone)]
pub struct Span {
    pub text: String,
    style: Style,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    /// Code with its backticks, an address: never touched.
    Verbatim,
    Break,
}

impl Span {
    pub fn text(text: &str, style: Style) -> Self {
        Self {
            text: text.to_owned(),
            style,
            kind: Kind::Text,
        }
    }

    pub fn verbatim(text: &str, style: Style) -> Self {
        Self {
            text: text.to_owned(),
            style,
            kind: Kind::Verbatim,
        }
    }

    pub fn code(code: &str, style: Style) -> Self {
        let ticks = if !code.contains('`') {
            "`"
        } else if code.contains("```") || code.starts_with('`') || code.ends_with('`') {
            ""
        } else {
            "```"
        };
        Self::verbatim(&format!("{ticks}{code}{ticks}"), style)
    }

    pub fn line_break() -> Self {
        Self {
            text: "\n".to_owned(),
            style: Style::default(),
            kind: Kind::Break,
        }
    }
}

/// The paragraph's lines; none if there is nothing to see.
pub fn lines(spans: &[Span]) -> Vec<String> {
    let lines = spans.split(|span| span.kind == Kind::Break).map(line);
    let mut lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    let seen = |line: &String| !line.is_empty();
    lines.truncate(lines.iter().rposition(seen).map_or(0, |last| last + 1));
    lines.drain(..lines.iter().position(seen).unwrap_or(0));
    lines
}

/// One line without its marks, for where marks would not work.
pub fn plain(spans: &[Span]) -> String {
    spans
        .iter()
        .map(|span| span.text.as_str())
        .collect::<String>()
        .trim()
        .to_owned()
}

pub fn line(spans: &[Span]) -> String {
    let mut glyphs = Vec::new();
    write(spans, 0, None, &mut glyphs);
    keep_literals(&glyphs)
}

/// A character of the line, and whether it is a mark that means nothing.
#[derive(Clone, Copy)]
struct Glyph {
    c: char,
    literal: bool,
}

fn glyphs(text: &str, literal: bool) -> impl Iterator<Item = Glyph> + '_ {
    text.chars().map(move |c| Glyph {
        c,
        literal: literal && matches!(c, '*' | '_' | '~'),
    })
}

fn write(spans: &[Span], level: usize, after: Option<char>, out: &mut Vec<Glyph>) {
    let Some((mark_of, sign)) = MARKS.get(level) else {
        spans.iter().for_each(|span| write_text(span, out));
        return;
    };
    let mut rest = spans;
    while let Some(first) = rest.first() {
        let on = mark_of(&first.style).depth > 0;
        let same = |span: &&Span| (mark_of(&span.style).depth > 0) == on;
        let (group, tail) = rest.split_at(rest.iter().take_while(same).count());
        rest = tail;
        let next = rest
            .iter()
            .find_map(|span| span.text.chars().next())
            .or(after);
        if on {
            write_marked(group, level, *sign, mark_of(&first.style).typed, next, out);
        } else {
            write(group, level + 1, next, out);
        }
    }
}

fn write_marked(
    group: &[Span],
    level: usize,
    sign: char,
    typed: &str,
    after: Option<char>,
    out: &mut Vec<Glyph>,
) {
    let mut inner = Vec::new();
    write(group, level + 1, after, &mut inner);
    let blank = |glyph: &Glyph| glyph.c.is_whitespace();
    let Some(start) = inner.iter().position(|glyph| !blank(glyph)) else {
        out.extend(inner);
        return;
    };
    let end = inner
        .iter()
        .rposition(|glyph| !blank(glyph))
        .map_or(start, |last| last + 1);
    out.extend_from_slice(&inner[..start]);
    let before = out.last().map(|glyph| glyph.c);
    let after = inner.get(end).map(|glyph| glyph.c).or(after);
    let in_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let in_address = in_address(out);
    let marked = !in_word(before) && !in_word(after) && !in_address;
    // Inside a word or an address the typist meant the characters themselves.
    let as_typed = before.is_some_and(|c| c.is_ascii_alphanumeric()) || in_address;
    let around = if marked {
        sign.to_string()
    } else if as_typed {
        typed.to_owned()
    } else {
        String::new()
    };
    out.extend(glyphs(&around, !marked && !in_address));
    out.extend_from_slice(&inner[start..end]);
    out.extend(glyphs(&around, !marked && !in_address));
    out.extend_from_slice(&inner[end..]);
}

/// Marks inside a web address are part of it.
fn write_text(span: &Span, out: &mut Vec<Glyph>) {
    if span.kind == Kind::Verbatim {
        out.extend(glyphs(&span.text, false));
        return;
    }
    for word in span.text.split_inclusive(char::is_whitespace) {
        let literal = !word.contains("://") && !in_address(out);
        out.extend(glyphs(word, literal));
    }
}

/// Does the line end in the middle of a web address?
fn in_address(line: &[Glyph]) -> bool {
    // Only the last word matters, and only so much of it that long lines stay cheap.
    let word: Vec<char> = line
        .iter()
        .rev()
        .take(256)
        .map(|glyph| glyph.c)
        .take_while(|c| !c.is_whitespace())
        .collect();
    word.windows(3).any(|three| three == ['/', '/', ':'])
}

/// Keeps literal marks from pairing up, with each other or with a real one.
fn keep_literals(line: &[Glyph]) -> String {
    let edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    let hugs = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
    let left = neighbours(line.iter());
    let mut right = neighbours(line.iter().rev());
    right.reverse();
    let opens = |i: usize| edge(left[i]) && hugs(right[i]);
    let closes = |i: usize| hugs(left[i]) && edge(right[i]);
    let mut last_close = [0; 3];
    let mut first_open = [usize::MAX; 3];
    let slot = |c: char| "*_~".find(c);
    for (i, glyph) in line.iter().enumerate() {
        let Some(slot) = slot(glyph.c) else { continue };
        if closes(i) {
            last_close[slot] = i;
        }
        if opens(i) && !glyph.literal {
            first_open[slot] = first_open[slot].min(i);
        }
    }
    let mut text = String::with_capacity(line.len());
    for (i, glyph) in line.iter().enumerate() {
        match slot(glyph.c).filter(|_| glyph.literal) {
            Some(slot) if opens(i) && last_close[slot] > i + 1 => {
                text.extend([glyph.c, HAIR_SPACE]);
            }
            Some(slot) if closes(i) && first_open[slot].saturating_add(1) < i => {
                text.extend([HAIR_SPACE, glyph.c]);
            }
            _ => text.push(glyph.c),
        }
    }
    text
}

/// For each character the one before it, where a row of equal characters counts as one.
fn neighbours<'a>(line: impl Iterator<Item = &'a Glyph>) -> Vec<Option<char>> {
    let (mut before, mut last) = (None, None);
    line.map(|glyph| {
        if last != Some(glyph.c) {
            before = last;
            last = Some(glyph.c);
        }
        before
    })
    .collect()
}
