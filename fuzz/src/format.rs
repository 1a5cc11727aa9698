//! Any text as an assistant's answer: formatted and cut without a panic, nothing of it lost but white space,
//! and nothing made of it that WhatsApp would refuse.

use clawkaka::whatsapp::{
    answer::{self, MAX_CAPTION_CHARS, Part},
    format::to_whatsapp,
    outgoing::Outgoing,
    split::{MAX_TEXT_CHARS, split},
};

/// The second is small enough to cut what a fuzzer makes up.
const LIMITS: [usize; 3] = [MAX_TEXT_CHARS, 100, 32];
const CHOOSE: &str = "Please choose:";

pub fn hold(answer: &[u8]) {
    let answer = String::from_utf8_lossy(answer);
    let formatted = to_whatsapp(&answer);
    assert!(!formatted.contains('\0'));
    for text in [&*answer, &formatted] {
        for limit in LIMITS {
            cut(text, limit);
        }
    }
    for part in answer::read(&answer, CHOOSE) {
        part_is_within_limits(&part);
    }
}

fn cut(text: &str, limit: usize) {
    let parts = split(text, limit);
    for part in &parts {
        fits(part, limit);
    }
    assert_eq!(letters(&parts.concat()), letters(text), "something is lost");
}

/// All but white space, and the fences that are put in at a cut.
fn letters(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_whitespace() && *c != '`');
    kept.collect()
}

/// Meta docs: Cloud API, messages.
fn part_is_within_limits(part: &Part) {
    match part {
        Part::Ready(message) => {
            is_within_limits(message);
            let stored = message.to_bytes().expect("it can be stored");
            let back = Outgoing::from_bytes(message.kind(), stored).expect("it can be read again");
            assert!(back == *message, "it comes out of the outbox as another");
        }
        Part::File { path, caption, .. } => {
            says(path, 256);
            caption
                .iter()
                .for_each(|caption| says(caption, MAX_CAPTION_CHARS));
        }
        Part::Reaction(emoji) => says(emoji, 16),
        Part::Template(name) => says(name, 256),
    }
}

fn is_within_limits(message: &Outgoing) {
    match message {
        Outgoing::Text { body } => says(body, MAX_TEXT_CHARS),
        Outgoing::Place {
            latitude,
            longitude,
            name,
            address,
        } => {
            assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0);
            [name, address]
                .into_iter()
                .flatten()
                .for_each(|text| says(text, 256));
        }
        Outgoing::Contact {
            name,
            phones,
            emails,
        } => {
            says(name, 256);
            phones.iter().chain(emails).for_each(|text| says(text, 256));
        }
        Outgoing::Buttons { body, titles } => {
            says(body, 1024);
            distinct(titles.iter(), 3, 20);
        }
        Outgoing::List { body, rows } => {
            says(body, 4096);
            distinct(rows.iter().map(|row| &row.title), 10, 24);
            let described = rows.iter().filter_map(|row| row.description.as_ref());
            described.for_each(|text| says(text, 72));
        }
        Outgoing::Link { body, title, url } => {
            says(body, 1024);
            says(title, 20);
            says(url, 2000);
            assert!(url.starts_with("http://") || url.starts_with("https://"));
            assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
        }
        Outgoing::File { .. } | Outgoing::Reaction { .. } => unreachable!("made later"),
        Outgoing::Template { .. } => unreachable!("no agent asks for one"),
    }
}

fn says(text: &str, most: usize) {
    fits(text, most);
    assert!(!text.contains('\0'), "a NUL");
}

fn fits(text: &str, most: usize) {
    let chars = text.chars().count();
    assert!(chars <= most, "{chars} characters where {most} fit");
    assert!(!text.trim().is_empty(), "nothing is said");
}

fn distinct<'a>(titles: impl Iterator<Item = &'a String>, most: usize, chars: usize) {
    let titles: Vec<_> = titles.collect();
    assert!((1..=most).contains(&titles.len()));
    for (at, title) in titles.iter().enumerate() {
        says(title, chars);
        assert!(!titles[..at].contains(title), "two titles are the same");
    }
}
