//! Small files of the kinds that people send.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// The head of a voice message.
pub const OGG: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0";
pub const MP3: &[u8] = b"ID3\x03\0\0\0\0\0\0 a song";
pub const PDF: &[u8] = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mP8z8BQz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC";

/// A red dot: the smallest picture that everything takes for one.
pub fn png() -> Vec<u8> {
    BASE64_STANDARD.decode(PNG).expect("this is base64")
}
