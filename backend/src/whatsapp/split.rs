//! Cuts a formatted text into messages that WhatsApp takes.
//!
//! Called by `worker/send` after `format`. Cuts where a reader would pause: between paragraphs,
//! lines, sentences, words, and only then inside a word, never inside a character. A fence that a
//! cut goes through is closed and opened again, so that every message looks right by itself.
//! Promises: no part is longer than the limit, and nothing but white space at a cut is lost.

/// Meta docs: text messages, body, "maximum 4096 characters".
pub const MAX_TEXT_CHARS: usize = 4_096;
/// Below this there is no room for a fence and something in it.
const MIN_LIMIT: usize = 32;
const FENCE: &str = "```";
const REOPEN: &str = "```\n";
const CLOSE: &str = "\n```";
/// A better kind of boundary is taken only in the last two thirds: many tiny messages read worse
/// than one cut between lines.
const EARLIEST: (usize, usize) = (1, 3);

/// `limit` is in characters (Unicode scalar values), at least 32.
pub fn split(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(MIN_LIMIT);
    let mut parts = Vec::new();
    let mut rest = text;
    let mut fenced = false;
    loop {
        let opening = if fenced { REOPEN } else { "" };
        if byte_at(rest, limit - opening.len()) == rest.len() {
            push(&mut parts, format!("{opening}{rest}"));
            return parts;
        }
        // Room for a closing fence is always kept: whether it is needed depends on the cut.
        let room = byte_at(rest, limit - opening.len() - CLOSE.len());
        let cut = boundary(rest, room, fenced);
        let (part, tail) = rest.split_at(cut);
        fenced ^= part.matches(FENCE).count() % 2 == 1;
        let closing = if fenced { CLOSE } else { "" };
        push(&mut parts, format!("{opening}{}{closing}", part.trim_end()));
        // Inside code only the line break goes: what follows may be indented.
        rest = if fenced {
            tail.strip_prefix('\n').unwrap_or(tail)
        } else {
            tail.trim_start()
        };
    }
}

fn push(parts: &mut Vec<String>, part: String) {
    // An empty fence may be left over at a cut.
    let empty = part.replace(FENCE, "").trim().is_empty();
    if !empty {
        parts.push(part);
    }
}

/// Where to cut, as a byte offset in `1..=room`.
fn boundary(text: &str, room: usize, fenced: bool) -> usize {
    let earliest = room * EARLIEST.0 / EARLIEST.1;
    // One character more, which belongs to the next part: a boundary may lie right before it.
    let window = &text[..room + text[room..].chars().next().map_or(0, char::len_utf8)];
    let fences: Vec<usize> = window.match_indices(FENCE).map(|(at, _)| at).collect();
    let open = |cut: &usize| fenced == (fences.partition_point(|at| at < cut) % 2 == 1);
    let late = |cut: &usize| *cut > earliest;
    let lines = || cuts(window, |before, _| before == '\n').filter(late);
    cuts(window, |before, next| before == '\n' && next == '\n')
        .filter(late)
        .find(open)
        .or_else(|| lines().find(open))
        .or_else(|| lines().next())
        .or_else(|| cuts(window, is_sentence_end).find(late))
        .or_else(|| cuts(window, |_, next| next.is_whitespace()).next())
        .unwrap_or_else(|| hard_cut(text, room))
}

/// Positions between two characters that satisfy `is_cut`, last first.
fn cuts(window: &str, is_cut: fn(char, char) -> bool) -> impl Iterator<Item = usize> + '_ {
    let pairs = window
        .char_indices()
        .rev()
        .zip(window.chars().rev().skip(1));
    pairs
        .filter(move |((_, next), before)| is_cut(*before, *next))
        .map(|((at, _), _)| at)
}

fn is_sentence_end(before: char, next: char) -> bool {
    let closed = matches!(before, '.' | '!' | '?' | '…' | ':' | ';') && next.is_whitespace();
    // Chinese and Japanese have no blank after a sentence; the danda ends one in Hindi.
    closed || matches!(before, '。' | '！' | '？' | '।' | '۔' | '؟')
}

/// The last place before `room` that is not inside what a reader sees as one sign.
fn hard_cut(text: &str, room: usize) -> usize {
    let places = text[..room]
        .char_indices()
        .rev()
        .map(|(at, before)| at + before.len_utf8());
    // No sign has that many parts; text that claims so is cut anyway.
    places
        .take(64)
        .find(|at| !joined(&text[..*at], &text[*at..]))
        .unwrap_or(room)
}

/// Does one sign reach over the end of `before`? An approximation of Unicode's grapheme clusters,
/// good enough for a place that is reached only by 4,000 characters without a blank.
fn joined(before: &str, after: &str) -> bool {
    let flag = |c: &char| ('\u{1F1E6}'..='\u{1F1FF}').contains(c);
    // Two letters make a flag, so in a row of them only every second border is one.
    let half_flag = before.chars().rev().take_while(flag).count() % 2 == 1;
    let (Some(before), Some(next)) = (before.chars().next_back(), after.chars().next()) else {
        return false;
    };
    before == '\u{200D}'
        || is_extension(next)
        || (half_flag && flag(&next))
        || (before == '`' && next == '`')
        || (before == '\r' && next == '\n')
        || is_virama(before)
}

fn is_virama(c: char) -> bool {
    let code = u32::from(c);
    (0x0900..0x0E00).contains(&code) && code % 0x80 == 0x4D
}

fn is_extension(c: char) -> bool {
    let code = u32::from(c);
    match code {
        // The scripts of India lie in blocks of 128 with their signs at the same places.
        0x0900..0x0E00 => {
            let place = code % 0x80;
            matches!(place, 0..=3 | 0x3A..=0x3C | 0x3E..=0x4F | 0x51..=0x57 | 0x62 | 0x63)
        }
        0x0300..=0x036F | 0x0483..=0x0489 | 0x0591..=0x05BD | 0x05BF..=0x05C7 => true,
        0x0610..=0x061A | 0x064B..=0x065F | 0x0670 | 0x06D6..=0x06DC | 0x06DF..=0x06ED => true,
        0x0E31 | 0x0E33..=0x0E3A | 0x0E47..=0x0E4E | 0x0EB1 | 0x0EB3..=0x0EBC => true,
        0x102B..=0x103E | 0x17B6..=0x17D3 | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF => true,
        // Joiners, variation selectors, keycaps, skin tones, tags of regional flags.
        0x200C | 0x200D | 0x20D0..=0x20FF | 0xFE00..=0xFE0F | 0xFE20..=0xFE2F => true,
        0x1F3FB..=0x1F3FF | 0xE0020..=0xE007F => true,
        _ => false,
    }
}

/// The byte where the character number `chars` begins, or the end.
fn byte_at(text: &str, chars: usize) -> usize {
    text.char_indices()
        .nth(chars)
        .map_or(text.len(), |(at, _)| at)
}
