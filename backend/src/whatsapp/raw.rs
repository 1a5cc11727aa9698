//! Reads JSON that may be strange, one level at a time, and keeps every value as the bytes it was.
//!
//! `meta` and `event` use it in place of typed structs, because a typed struct fails as a whole:
//! one number where a string belongs, one doubled key or one half emoji (a lone surrogate in a `\u`
//! escape, which senders produce by cutting strings) would cost all messages in the same body.
//! Skipping a value does not recurse, so depth cannot exhaust the stack.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object in their order, doubled keys included.
pub struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    /// `None` if the value is not an object.
    pub fn read(raw: &'a RawValue) -> Option<Self> {
        let Members(members) = serde_json::from_str(raw.get()).ok()?;
        let named = members
            .into_iter()
            .map(|(key, value)| Some((text(key)?, value)));
        named.collect::<Option<_>>().map(Self)
    }

    /// `None` if the bytes are not JSON in UTF-8 with an object at the top.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        Self::read(serde_json::from_slice(body).ok()?)
    }

    /// Every value under this key, so that a doubled `messages` loses nobody.
    pub fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'a RawValue> + 's {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| *value)
    }

    /// The value under this key; of several the last, as most parsers have it. `null` is absent.
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }

    pub fn object(&self, key: &str) -> Option<Object<'a>> {
        Self::read(self.get(key)?)
    }

    /// The first element of an array of objects.
    pub fn first(&self, key: &str) -> Option<Object<'a>> {
        items(self.get(key)?)?
            .first()
            .and_then(|item| Self::read(item))
    }

    pub fn text(&self, key: &str) -> Option<String> {
        text(self.get(key)?)
    }

    /// An integer, also one that came as a string: Meta writes timestamps both ways.
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.text(key)?.trim().parse().ok()
    }
}

/// The elements of a JSON array; `None` if the value is not one.
pub fn items(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// A string, or a number as it was written. A lone surrogate becomes U+FFFD.
pub fn text(raw: &RawValue) -> Option<String> {
    let json = raw.get();
    match json.as_bytes().first()? {
        b'"' => {
            let Bytes(bytes) = serde_json::from_str(json).ok()?;
            Some(String::from_utf8_lossy(&without_surrogates(bytes)).into_owned())
        }
        b'-' | b'0'..=b'9' => Some(json.to_owned()),
        _ => None,
    }
}

/// serde_json hands out a lone surrogate as the three bytes that UTF-8 forbids (WTF-8); one sign
/// takes their place, where `from_utf8_lossy` alone would write three.
fn without_surrogates(bytes: Vec<u8>) -> Vec<u8> {
    let is_surrogate = |three: &[u8]| three[0] == 0xED && three[1] >= 0xA0;
    if !bytes.windows(3).any(is_surrogate) {
        return bytes;
    }
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some(&byte) = rest.first() {
        let lone = rest.len() >= 3 && is_surrogate(rest);
        if lone {
            clean.extend_from_slice("\u{FFFD}".as_bytes());
        } else {
            clean.push(byte);
        }
        rest = &rest[if lone { 3 } else { 1 }..];
    }
    clean
}

/// A JSON string as bytes: the one way in which serde_json does not fail on a lone surrogate.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl Visitor<'_> for Take {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Take)
    }
}

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn strings_survive_whatever_is_in_them() {
        let rows = [
            (r#"{"k":"plain ä"}"#, Some("plain ä")),
            (r#"{"k":"\u00e4 \ud83d\ude00"}"#, Some("ä 😀")),
            (r#"{"k":"half \ud83d emoji"}"#, Some("half \u{FFFD} emoji")),
            (r#"{"k":"\udead\ud800"}"#, Some("\u{FFFD}\u{FFFD}")),
            (r#"{"k":12.50}"#, Some("12.50")),
            (r#"{"k":true}"#, None),
            (r#"{"k":null}"#, None),
            (r#"{"k":{"deep":1}}"#, None),
            (r#"{"\u006b":"an escaped key"}"#, Some("an escaped key")),
            (
                r#"{"\ud800":1,"k":"beside a broken key"}"#,
                Some("beside a broken key"),
            ),
            (r#"{"k":"first","k":"last"}"#, Some("last")),
        ];
        for (json, expected) in rows {
            let object = Object::parse(json.as_bytes()).expect(json);
            assert_eq!(object.text("k").as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_none() {
        let deep = "[".repeat(200_000);
        for json in [
            "",
            "[]",
            "1",
            "\"k\"",
            "{\"k\":}",
            "{\"k\":1",
            "\u{FEFF}{}",
            &deep,
        ] {
            assert!(Object::parse(json.as_bytes()).is_none());
        }
        assert!(Object::parse(b"{\"k\":\"\xff\"}").is_none());
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!(
            "{{\"deep\":{}{},\"k\":5}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(
            Object::parse(deep.as_bytes()).and_then(|top| top.integer("k")),
            Some(5)
        );
    }
}
