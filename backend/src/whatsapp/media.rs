//! A file that a person sent, as its webhook tells of it, and what it is called once we have it.
//!
//! Part of `content`. Pure. The file's own name is what somebody typed, so it is told and never used:
//! in a sandbox a file is named after its bytes, and the same one twice is there once.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{content::line, raw::Object};

/// In the agent's workspace.
pub const FOLDER: &str = "inbox";
/// Of a digest, in a file's name: nobody meets two by chance.
const NAME_BYTES: usize = 8;
/// Longer endings are not endings.
const MAX_ENDING: usize = 8;
/// What a file is called by its type, where its own name does not say. Those that WhatsApp takes
/// (Meta docs: media, supported types).
const ENDINGS: [(&str, &str); 20] = [
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/webp", "webp"),
    ("audio/aac", "aac"),
    ("audio/amr", "amr"),
    ("audio/mp4", "m4a"),
    ("audio/mpeg", "mp3"),
    ("audio/ogg", "ogg"),
    ("video/3gpp", "3gp"),
    ("video/mp4", "mp4"),
    ("text/plain", "txt"),
    ("text/csv", "csv"),
    ("application/pdf", "pdf"),
    ("application/json", "json"),
    ("application/zip", "zip"),
    ("application/msword", "doc"),
    ("application/vnd.ms-excel", "xls"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "pptx",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Image,
    Sticker,
    Video,
    Voice,
    Audio,
    Document,
}

#[derive(Clone, PartialEq)]
pub struct Media {
    pub kind: Kind,
    /// WhatsApp's, by which it is fetched within seven days.
    pub id: String,
    /// As WhatsApp says, without parameters, in lower case; may be empty.
    pub mime: String,
    /// SHA-256 of what is to come.
    pub digest: Option<[u8; 32]>,
    /// Only documents have one.
    pub name: Option<String>,
    pub caption: Option<String>,
    /// What was said in it, where the provider listened already.
    pub words: Option<String>,
}

impl Kind {
    /// Our word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "photo",
            Self::Sticker => "sticker",
            Self::Video => "video",
            Self::Voice => "voice message",
            Self::Audio => "sound",
            Self::Document => "document",
        }
    }

    /// What the bytes must be of, whatever the webhook says; a document may be anything.
    pub fn fits(self, found: Option<&str>) -> bool {
        let begins = |with: &str| found.is_some_and(|found| found.starts_with(with));
        match self {
            Self::Image | Self::Sticker => begins("image/"),
            // One that holds only sound is told from a video by nobody.
            Self::Voice | Self::Audio => begins("audio/") || begins("video/mp4"),
            Self::Video => begins("video/"),
            Self::Document => true,
        }
    }
}

impl Media {
    /// Where it lies in the agent's workspace.
    pub fn path(&self) -> String {
        let digest = self
            .digest
            .unwrap_or_else(|| Sha256::digest(&self.id).into());
        let name = hex::encode(&digest[..NAME_BYTES]);
        format!("{FOLDER}/{name}.{}", self.ending())
    }

    fn ending(&self) -> String {
        let known = ENDINGS.iter().find(|(mime, _)| *mime == self.mime);
        if let Some((_, ending)) = known {
            return (*ending).to_owned();
        }
        let own = self.name.as_ref().and_then(|name| name.rsplit_once('.'));
        let is_plain = |ending: &str| {
            (1..=MAX_ENDING).contains(&ending.len())
                && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        match own {
            Some((_, ending)) if is_plain(ending) => ending.to_ascii_lowercase(),
            _ => "bin".to_owned(),
        }
    }
}

/// `None` without an id, by which alone it could be fetched.
pub(super) fn read(item: &Object<'_>, kind: &str) -> Option<Media> {
    let file = item.object(kind)?;
    let is_voice = file.get("voice").is_some_and(|voice| voice.get() == "true");
    let kind = match kind {
        "image" => Kind::Image,
        "sticker" => Kind::Sticker,
        "video" => Kind::Video,
        "audio" if is_voice => Kind::Voice,
        "audio" => Kind::Audio,
        "document" => Kind::Document,
        _ => return None,
    };
    let mime = file.text("mime_type").unwrap_or_default();
    let mime = mime.split(';').next().unwrap_or_default();
    Some(Media {
        kind,
        id: line(&file, "id").filter(|id| is_plain(id))?,
        mime: mime.trim().to_ascii_lowercase(),
        digest: file.text("sha256").and_then(|text| digest(&text)),
        name: line(&file, "filename"),
        caption: line(&file, "caption"),
        words: item
            .object("kapso")
            .and_then(|kapso| line(&kapso.object("transcript")?, "text")),
    })
}

/// It becomes part of an address.
fn is_plain(id: &str) -> bool {
    id.len() <= 128
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Base64 in webhooks, hex in what the API says of a file.
pub fn digest(text: &str) -> Option<[u8; 32]> {
    let bytes = match text.len() {
        64 => hex::decode(text).ok()?,
        _ => STANDARD.decode(text).ok()?,
    };
    bytes.try_into().ok()
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Media({:?})", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(name: &str, mime: &str) -> Media {
        let item = json!({ "document": { "id": "1", "mime_type": mime, "filename": name,
            "sha256": STANDARD.encode([7; 32]) } });
        let item = item.to_string();
        read(&Object::parse(item.as_bytes()).unwrap(), "document").unwrap()
    }

    #[test]
    fn a_file_is_named_after_its_bytes_and_never_as_somebody_says() {
        assert_eq!(
            document("Report.PDF", "application/pdf; x=y").path(),
            "inbox/0707070707070707.pdf"
        );
        assert_eq!(document("notes.Md", "").path(), "inbox/0707070707070707.md");
        for name in [
            "../../etc/passwd",
            "a.b/../c",
            "x.",
            ".",
            "a.verylongending",
        ] {
            assert_eq!(
                document(name, "").path(),
                "inbox/0707070707070707.bin",
                "{name}"
            );
        }
    }

    #[test]
    fn a_digest_is_read_as_base64_and_as_hex_and_nothing_else_is_one() {
        assert_eq!(digest(&STANDARD.encode([7; 32])), Some([7; 32]));
        assert_eq!(digest(&hex::encode([7; 32])), Some([7; 32]));
        for text in ["", "abc", &STANDARD.encode([7; 31]), &"x".repeat(64)] {
            assert_eq!(digest(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_that_is_no_id_is_not_asked_for() {
        for id in ["../me", "1?x=2", "", "1/2", &"1".repeat(200)] {
            let item = json!({ "image": { "id": id, "mime_type": "image/jpeg" } }).to_string();
            assert!(
                read(&Object::parse(item.as_bytes()).unwrap(), "image").is_none(),
                "{id}"
            );
        }
    }

    #[test]
    fn what_says_it_is_a_photo_and_is_a_page_does_not_fit() {
        assert!(Kind::Image.fits(Some("image/jpeg")) && !Kind::Image.fits(Some("text/html")));
        assert!(!Kind::Image.fits(None) && Kind::Document.fits(None));
        assert!(Kind::Voice.fits(Some("audio/ogg")) && !Kind::Voice.fits(Some("image/png")));
    }
}
