//! What an assistant's answer asks to be sent: its words, and between them lines in square brackets, the
//! reverse of what `told` writes.
//!
//! Called by `worker/exchange`. Pure and total: what is no such line, or asks for more than WhatsApp takes,
//! is words. Lines inside a fence of code are words, too.

use crate::line::template;

use super::{
    format::to_whatsapp,
    media::Kind,
    outgoing::{Outgoing, Row},
    split::{MAX_TEXT_CHARS, split},
};

/// Meta docs: media messages, "maximum 1024 characters" for a caption; the same for the words above
/// buttons and links. A list may have more, and is not read by anybody who has to scroll to it.
pub const MAX_CAPTION_CHARS: usize = 1_024;
/// Meta docs: interactive reply buttons.
const MAX_BUTTONS: usize = 3;
const MAX_BUTTON_CHARS: usize = 20;
/// Meta docs: interactive lists, in all sections together.
const MAX_ROWS: usize = 10;
const MAX_ROW_CHARS: usize = 24;
const MAX_ROW_DESCRIPTION_CHARS: usize = 72;
/// Of a name, a number or an address, where Meta gives no limit: beyond it nobody means it.
const MAX_FIELD_CHARS: usize = 256;
/// Of an address behind a button. Meta gives no limit; much on the way of a longer one does.
const MAX_URL_CHARS: usize = 2_000;
/// The longest emoji are families of seven joined signs.
const MAX_EMOJI_CHARS: usize = 16;
const FENCE: &str = "```";

/// One thing to be sent, in order.
#[derive(PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub enum Part {
    Ready(Outgoing),
    /// To be read from the assistant's folder first.
    File {
        wish: Kind,
        path: String,
        caption: Option<String>,
    },
    /// To the message that it answers.
    Reaction(String),
    /// By its name at Meta, if the line has it.
    Template(String),
}

/// A line that asks for something.
enum Ask {
    Part(Part),
    Buttons(Vec<String>),
    List(Vec<Row>),
    Link { title: String, url: String },
}

/// `choose` stands above a choice that nothing was said about.
pub fn read(answer: &str, choose: &str) -> Vec<Part> {
    // WhatsApp takes it nowhere.
    let answer = answer.replace('\0', "");
    let mut parts = Vec::new();
    let mut words = String::new();
    let mut fenced = false;
    for line in answer.lines() {
        let is_fence = line.trim_start().starts_with(FENCE);
        fenced ^= is_fence;
        match ask(line).filter(|_| !fenced && !is_fence) {
            None => {
                words.push_str(line);
                words.push('\n');
            }
            Some(Ask::Part(mut part)) => {
                say(&mut parts, &std::mem::take(&mut words));
                let below = below(&mut part);
                parts.push(part);
                push_text(&mut parts, &below.unwrap_or_default());
            }
            Some(choice) => {
                let body = to_whatsapp(&std::mem::take(&mut words)).trim().to_owned();
                offer(&mut parts, &body, choice, choose);
            }
        }
    }
    say(&mut parts, &words);
    parts
}

/// A caption that WhatsApp would not take, or would not show, is a message of its own.
fn below(part: &mut Part) -> Option<String> {
    let Part::File { wish, caption, .. } = part else {
        return None;
    };
    let has_captions = matches!(wish, Kind::Image | Kind::Video | Kind::Document);
    let fits = |caption: &&mut String| caption.chars().count() <= MAX_CAPTION_CHARS;
    match caption.as_mut().filter(fits) {
        Some(_) if has_captions => None,
        _ => caption.take(),
    }
}

fn say(parts: &mut Vec<Part>, words: &str) {
    push_text(parts, &to_whatsapp(words));
}

fn push_text(parts: &mut Vec<Part>, formatted: &str) {
    let texts = split(formatted, MAX_TEXT_CHARS).into_iter();
    let texts = texts.filter(|text| !text.trim().is_empty());
    parts.extend(texts.map(|text| Part::Ready(Outgoing::text(text))));
}

/// A choice stands below what was said before it; below its own few words where that is too long.
fn offer(parts: &mut Vec<Part>, said: &str, ask: Ask, choose: &str) {
    let fits = !said.is_empty() && said.chars().count() <= MAX_CAPTION_CHARS;
    if !fits {
        push_text(parts, said);
    }
    let body = |otherwise: &str| if fits { said } else { otherwise }.to_owned();
    let part = match ask {
        Ask::Part(part) => part,
        Ask::Buttons(titles) => Part::Ready(Outgoing::Buttons {
            body: body(choose),
            titles,
        }),
        Ask::List(rows) => Part::Ready(Outgoing::List {
            body: body(choose),
            rows,
        }),
        Ask::Link { title, url } => {
            let body = body(&title);
            Part::Ready(Outgoing::Link { body, title, url })
        }
    };
    parts.push(part);
}

fn ask(line: &str) -> Option<Ask> {
    let inside = line.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (word, rest) = inside.split_once(':')?;
    let fields: Vec<_> = rest.split('|').map(str::trim).collect();
    let word = word.trim().to_ascii_lowercase();
    match word.as_str() {
        "buttons" => choice(&fields),
        "list" => list(&fields),
        "link" => link(&fields),
        "react" => {
            let emoji = field(fields.first()?, MAX_EMOJI_CHARS)?;
            let is_emoji = !emoji
                .chars()
                .any(|c| c.is_alphanumeric() || c.is_whitespace());
            is_emoji.then_some(Ask::Part(Part::Reaction(emoji)))
        }
        "template" => template(&fields),
        "send place" => place(&fields),
        "send contact" => contact(&fields),
        _ => file(word.strip_prefix("send ")?, &fields),
    }
}

fn template(fields: &[&str]) -> Option<Ask> {
    let [name] = fields else { return None };
    let is_name = |name: &String| template::is_name(name);
    let name = field(name, MAX_FIELD_CHARS).filter(is_name)?;
    Some(Ask::Part(Part::Template(name)))
}

fn file(what: &str, fields: &[&str]) -> Option<Ask> {
    let wish = match what.trim() {
        "photo" | "image" | "picture" => Kind::Image,
        "video" => Kind::Video,
        "sound" | "audio" => Kind::Audio,
        "voice" | "voice message" => Kind::Voice,
        "sticker" => Kind::Sticker,
        "document" | "file" => Kind::Document,
        _ => return None,
    };
    let caption = to_whatsapp(&fields[1..].join(" | "));
    Some(Ask::Part(Part::File {
        wish,
        path: field(fields.first()?, MAX_FIELD_CHARS)?,
        caption: Some(caption.trim().to_owned()).filter(|caption| !caption.is_empty()),
    }))
}

fn place(fields: &[&str]) -> Option<Ask> {
    let (latitude, longitude) = fields.first()?.split_once(',')?;
    let degrees = |text: &str, most: f64| {
        let degrees: f64 = text.trim().parse().ok()?;
        (degrees.abs() <= most).then_some(degrees)
    };
    let named = |at: usize| field(fields.get(at)?, MAX_FIELD_CHARS);
    Some(Ask::Part(Part::Ready(Outgoing::Place {
        latitude: degrees(latitude, 90.0)?,
        longitude: degrees(longitude, 180.0)?,
        name: named(1),
        address: named(2),
    })))
}

fn contact(fields: &[&str]) -> Option<Ask> {
    let name = field(fields.first()?, MAX_FIELD_CHARS)?;
    let details = fields[1..].iter();
    let details: Vec<_> = details
        .filter_map(|text| field(text, MAX_FIELD_CHARS))
        .collect();
    let (emails, phones) = details.into_iter().partition(|text| text.contains('@'));
    Some(Ask::Part(Part::Ready(Outgoing::Contact {
        name,
        phones,
        emails,
    })))
}

/// Few and short ones are buttons, more of them a list.
fn choice(fields: &[&str]) -> Option<Ask> {
    let fits = |most: usize, chars: usize| are_titles(fields, most, chars);
    let titles = || fields.iter().map(|title| (*title).to_owned());
    if fits(MAX_BUTTONS, MAX_BUTTON_CHARS) {
        return Some(Ask::Buttons(titles().collect()));
    }
    let row = |title| Row {
        title,
        description: None,
    };
    fits(MAX_ROWS, MAX_ROW_CHARS).then(|| Ask::List(titles().map(row).collect()))
}

fn list(fields: &[&str]) -> Option<Ask> {
    let rows = fields.iter().map(|row| {
        let (title, description) = match row.split_once(": ") {
            Some((title, description)) => (title, Some(description.trim().to_owned())),
            None => (*row, None),
        };
        Row {
            title: title.trim().to_owned(),
            description,
        }
    });
    let rows: Vec<_> = rows.collect();
    let titles: Vec<_> = rows.iter().map(|row| row.title.as_str()).collect();
    let described = rows.iter().filter_map(|row| row.description.as_ref());
    let fits = are_titles(&titles, MAX_ROWS, MAX_ROW_CHARS) && { described }
        .all(|text| !text.is_empty() && text.chars().count() <= MAX_ROW_DESCRIPTION_CHARS);
    fits.then_some(Ask::List(rows))
}

fn link(fields: &[&str]) -> Option<Ask> {
    let [title, url] = fields else { return None };
    let parsed = url::Url::parse(url).ok()?;
    let is_web = matches!(parsed.scheme(), "http" | "https");
    // As a browser would write it: without spaces, and in ASCII.
    let url = field(parsed.as_str(), MAX_URL_CHARS).filter(|_| is_web)?;
    are_titles(&[*title], 1, MAX_BUTTON_CHARS).then(|| Ask::Link {
        title: (*title).to_owned(),
        url,
    })
}

/// Each says something, and something else than the others.
fn are_titles(titles: &[&str], most: usize, chars: usize) -> bool {
    let each = titles.iter().enumerate().all(|(at, title)| {
        (1..=chars).contains(&title.chars().count()) && !titles[..at].contains(title)
    });
    each && (1..=most).contains(&titles.len())
}

fn field(text: &str, most: usize) -> Option<String> {
    let fits = (1..=most).contains(&text.chars().count());
    fits.then(|| text.to_owned())
}
