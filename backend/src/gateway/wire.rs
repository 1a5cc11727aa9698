//! Reading JSON that a sandbox wrote: leniently, and nothing longer or stranger than it should be.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// Ids, cursors and codes are stored and sent back; real ones have under 200 bytes.
const MAX_WORD_BYTES: usize = 1_024;

/// A name or opaque value we may store and send back: printable, and no longer than a real one.
pub fn word(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= MAX_WORD_BYTES;
    let printable = fits && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    printable.then(|| text.to_owned())
}

/// For logs and comparisons only.
pub fn short(mut text: String) -> String {
    text.retain(|c| !c.is_control());
    let end = text.floor_char_boundary(MAX_WORD_BYTES);
    text.truncate(end);
    text
}

/// A JSON value as a `T`, if it is one.
pub fn read<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// For fields a sandbox may fill with anything: the wrong type is the same as nothing.
pub fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}
