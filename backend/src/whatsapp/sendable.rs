//! As what a file can go to WhatsApp: by its bytes, whatever its name and its assistant say.
//!
//! Pure. Types and sizes are Meta's (Meta docs: media, supported types). Whoever asks for more than a file
//! is gets the nearest that it is: a song in place of a voice message, a photo in place of a document.

use super::media::Kind;

/// The largest that any of them may be but documents, and what we hold in memory.
pub const MAX_BYTES: usize = 16 << 20;
const MAX_IMAGE_BYTES: usize = 5 << 20;
const MAX_STICKER_BYTES: usize = 100 << 10;
const MAX_MOVING_STICKER_BYTES: usize = 500 << 10;
/// In the head of a WebP that moves.
const MOVES: &[u8] = b"ANIM";
const HEAD_BYTES: usize = 128;
/// The others that a document may be; plain text of any kind goes as text.
const DOCUMENTS: [&str; 7] = [
    "application/pdf",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sendable {
    pub kind: Kind,
    pub mime: &'static str,
}

/// `None` where WhatsApp takes it as nothing.
pub fn sendable(wish: Kind, bytes: &[u8]) -> Option<Sendable> {
    if bytes.is_empty() || bytes.len() > MAX_BYTES {
        return None;
    }
    let mime = mime(bytes)?;
    let kind = match mime {
        "image/jpeg" | "image/png" if bytes.len() <= MAX_IMAGE_BYTES => Kind::Image,
        "image/webp" if bytes.len() <= most_of_a_sticker(bytes) => Kind::Sticker,
        "video/mp4" | "video/3gpp" => Kind::Video,
        "audio/ogg" if wish == Kind::Voice => Kind::Voice,
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" => Kind::Audio,
        "text/plain" => Kind::Document,
        mime if DOCUMENTS.contains(&mime) => Kind::Document,
        _ => return None,
    };
    Some(Sendable { kind, mime })
}

fn mime(bytes: &[u8]) -> Option<&'static str> {
    let found = infer::get(bytes).map(|found| found.mime_type());
    let is_text = || !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    match found {
        Some("audio/m4a") => Some("audio/mp4"),
        // In Ogg; any other codec in there is refused.
        Some("audio/opus") => Some("audio/ogg"),
        Some("audio/ogg") => None,
        Some(mime) if !mime.starts_with("text/") => Some(mime),
        _ => is_text().then_some("text/plain"),
    }
}

fn most_of_a_sticker(bytes: &[u8]) -> usize {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    match head.windows(MOVES.len()).any(|found| found == MOVES) {
        true => MAX_MOVING_STICKER_BYTES,
        false => MAX_STICKER_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const OGG: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01";
    const WEBP: &[u8] = b"RIFF\x24\0\0\0WEBPVP8X";

    fn kind(wish: Kind, bytes: &[u8]) -> Option<Kind> {
        sendable(wish, bytes).map(|sendable| sendable.kind)
    }

    #[test]
    fn a_file_goes_as_what_it_is() {
        assert_eq!(kind(Kind::Image, PNG), Some(Kind::Image));
        assert_eq!(kind(Kind::Document, PNG), Some(Kind::Image));
        assert_eq!(kind(Kind::Voice, OGG), Some(Kind::Voice));
        assert_eq!(kind(Kind::Audio, OGG), Some(Kind::Audio));
        assert_eq!(kind(Kind::Voice, b"ID3\x03\0 a song"), Some(Kind::Audio));
        assert_eq!(kind(Kind::Sticker, WEBP), Some(Kind::Sticker));
        assert_eq!(kind(Kind::Document, b"%PDF-1.4\n"), Some(Kind::Document));
        for text in [
            "a,b\n1,2\n",
            "<!DOCTYPE html><p>Hi",
            "# Notizen: \u{e4}\u{f6}",
        ] {
            let sent = sendable(Kind::Image, text.as_bytes()).unwrap();
            assert_eq!(
                (sent.kind, sent.mime),
                (Kind::Document, "text/plain"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_whatsapp_does_not_take_goes_as_nothing() {
        let large = |head: &[u8], bytes: usize| [head, &vec![1; bytes]].concat();
        for file in [
            vec![],
            b"PK\x05\x06 an archive".to_vec(),
            b"GIF89a a picture".to_vec(),
            b"\x7fELF\x02\x01\x01\0".to_vec(),
            vec![0; 100],
            b"\xff\xfe not UTF-8".to_vec(),
            b"OggS\0\x02 Vorbis".to_vec(),
            large(PNG, MAX_IMAGE_BYTES),
            large(WEBP, MAX_STICKER_BYTES),
            large(b"%PDF-1.4\n", MAX_BYTES),
        ] {
            assert_eq!(
                sendable(Kind::Document, &file),
                None,
                "{:?}",
                &file[..file.len().min(16)]
            );
        }
        let moves = large(b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0ANIM", MAX_STICKER_BYTES);
        assert_eq!(kind(Kind::Sticker, &moves), Some(Kind::Sticker));
    }
}
