//! Fetches a file that a person sent: asks what and where it is, then reads it, and believes nothing.
//!
//! Called by `worker/exchange`. The address comes from WhatsApp, and still our token goes to WhatsApp's
//! hosts only, over TLS, and no redirect is followed. Size, digest and type are those of the bytes
//! that came. No error quotes an address: there is a key to the file in it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::{
    client::Line,
    media::{self, Media},
    provider::{Api, Provider},
};

/// More than any photo, sound or film may have (16 MB), and a long document. They are held in memory.
pub const MAX_BYTES: u64 = 64 << 20;
/// All that is held at a time; who would need more waits.
const MAX_HELD_MB: u32 = 96;
/// What and where it is: answered in well under a second.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// A large file over a slow line.
const FETCH_WITHIN: Duration = Duration::from_secs(120);
/// Between two pieces of it.
const PIECE_WITHIN: Duration = Duration::from_secs(20);
/// What describes a file has a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Where Meta keeps files (Meta docs: media, download).
const META_HOST: &str = "lookaside.fbsbx.com";
/// After a failure that may pass; then it is given up.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// Why there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// WhatsApp does not have it, or not any more.
    Gone,
    TooLarge,
    /// What came is not what was announced; our word for what is wrong.
    Wrong(&'static str),
    /// No answer, or none of use; it may be there later. Our word for it.
    Away(&'static str),
}

/// A file in memory, and its share of what may be held there.
pub struct File {
    pub bytes: Bytes,
    /// Found in the bytes; nothing for what has no mark, as a text.
    pub mime: Option<&'static str>,
    /// SHA-256.
    pub digest: [u8; 32],
    _held: OwnedSemaphorePermit,
}

#[derive(Clone)]
pub struct Fetcher {
    http: reqwest::Client,
    held: Arc<Semaphore>,
}

/// Where a file is, and what it should be.
struct Place {
    url: Url,
    size: Option<u64>,
    digest: Option<[u8; 32]>,
}

impl Fetcher {
    /// `http` comes from `client::http_builder`.
    pub fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            held: Arc::new(Semaphore::new(MAX_HELD_MB as usize)),
        }
    }

    pub async fn fetch(&self, line: Line<'_>, media: &Media) -> Result<File, Failure> {
        let mut pauses = AGAIN_AFTER.into_iter();
        loop {
            match self.try_fetch(line, media).await {
                Err(Failure::Away(why)) => match pauses.next() {
                    Some(pause) => {
                        tracing::debug!(why, "a file is asked for again");
                        tokio::time::sleep(pause).await;
                    }
                    None => return Err(Failure::Away(why)),
                },
                fetched => return fetched,
            }
        }
    }

    async fn try_fetch(&self, line: Line<'_>, media: &Media) -> Result<File, Failure> {
        let place = self.place(line, media).await?;
        let most = match place.size {
            Some(size) if size > MAX_BYTES => return Err(Failure::TooLarge),
            Some(size) => size,
            None => MAX_BYTES,
        };
        let megabytes = u32::try_from(most.div_ceil(1 << 20))
            .unwrap_or(MAX_HELD_MB)
            .max(1);
        let held = self.held.clone().acquire_many_owned(megabytes).await;
        let held = held.map_err(|_| Failure::Away("we stop"))?;
        let read = tokio::time::timeout(FETCH_WITHIN, self.read(line, &place, most));
        let bytes = read.await.unwrap_or(Err(Failure::Away("too slow")))?;
        let (digest, expected) = (Sha256::digest(&bytes).into(), media.digest.or(place.digest));
        if expected.is_some_and(|expected| expected != digest) {
            return Err(Failure::Wrong("its digest"));
        }
        let mime = infer::get(&bytes).map(|found| found.mime_type());
        if !media.kind.fits(mime) {
            return Err(Failure::Wrong("its type"));
        }
        Ok(File {
            bytes,
            mime,
            digest,
            _held: held,
        })
    }

    async fn place(&self, line: Line<'_>, media: &Media) -> Result<Place, Failure> {
        let mut url = line.api.url(&[&media.id]).ok_or(Failure::Gone)?;
        // Kapso wants to know of which number; with it, Meta refuses some (chatwoot, pull request 13319).
        if line.api.provider == Provider::Kapso {
            url.query_pairs_mut()
                .append_pair("phone_number_id", line.phone_number_id);
        }
        let request = line.api.authorize(self.http.get(url), line.access_token);
        let answer = request
            .timeout(ASK_WITHIN)
            .send()
            .await
            .map_err(|_| Failure::Away("no answer"))?;
        judge(answer.status())?;
        let bytes = pieces(answer, MAX_ANSWER_BYTES as u64).await?;
        let told: Value = serde_json::from_slice(&bytes).map_err(|_| Failure::Away("no JSON"))?;
        let text = |key: &str| told[key].as_str();
        let address = text("download_url").or_else(|| text("url"));
        let url = address.and_then(|address| Url::parse(address).ok());
        let url = url.ok_or(Failure::Away("no address"))?;
        if !is_theirs(&url, line.api) {
            return Err(Failure::Wrong("its address"));
        }
        let size = &told["file_size"];
        Ok(Place {
            url,
            // A number or a text.
            size: size.as_u64().or_else(|| size.as_str()?.parse().ok()),
            digest: text("sha256").and_then(media::digest),
        })
    }

    async fn read(&self, line: Line<'_>, place: &Place, most: u64) -> Result<Bytes, Failure> {
        let request = self.http.get(place.url.clone()).timeout(FETCH_WITHIN);
        let request = line.api.authorize(request, line.access_token);
        let answer = request
            .send()
            .await
            .map_err(|_| Failure::Away("no answer"))?;
        if answer.status().is_redirection() {
            return Err(Failure::Wrong("its address"));
        }
        judge(answer.status())?;
        pieces(answer, most).await
    }
}

fn judge(status: reqwest::StatusCode) -> Result<(), Failure> {
    match status.as_u16() {
        200..=299 => Ok(()),
        // Graph says 400 of an id that it does not know.
        400 | 404 | 410 => Err(Failure::Gone),
        401 | 403 => Err(Failure::Away("refused")),
        _ => Err(Failure::Away("out of order")),
    }
}

/// The API's own host, or Meta's for files.
fn is_theirs(url: &Url, api: &Api) -> bool {
    let base = &api.base_url;
    let same = url.scheme() == base.scheme()
        && url.host_str() == base.host_str()
        && url.port_or_known_default() == base.port_or_known_default();
    let metas = api.provider == Provider::Meta
        && url.scheme() == "https"
        && url.host_str() == Some(META_HOST)
        && url.port_or_known_default() == Some(443);
    let plain = url.username().is_empty() && url.password().is_none();
    plain && (same || metas)
}

async fn pieces(mut answer: reqwest::Response, most: u64) -> Result<Bytes, Failure> {
    let announced = answer.content_length().unwrap_or_default();
    if announced > most {
        return Err(Failure::TooLarge);
    }
    let mut bytes = BytesMut::with_capacity(announced as usize);
    loop {
        let piece = tokio::time::timeout(PIECE_WITHIN, answer.chunk()).await;
        let piece = piece.map_err(|_| Failure::Away("too slow"))?;
        match piece.map_err(|_| Failure::Away("cut off"))? {
            None => return Ok(bytes.freeze()),
            Some(piece) => bytes.extend_from_slice(&piece),
        }
        if bytes.len() as u64 > most {
            return Err(Failure::TooLarge);
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("WhatsApp does not have it"),
            Self::TooLarge => f.write_str("it is too large"),
            Self::Wrong(what) => write!(f, "{what} is wrong"),
            Self::Away(why) => write!(f, "it could not be fetched: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(provider: Provider, base: &str) -> Api {
        Api {
            provider,
            base_url: base.parse().unwrap(),
            version: "v24.0".to_owned(),
        }
    }

    #[test]
    fn a_token_goes_to_whatsapp_and_nowhere_else() {
        let meta = api(Provider::Meta, "https://graph.facebook.com");
        let is = |url: &str| is_theirs(&url.parse().unwrap(), &meta);
        assert!(is(
            "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1"
        ));
        assert!(is("https://graph.facebook.com/x"));
        for foreign in [
            "http://lookaside.fbsbx.com/",
            "https://lookaside.fbsbx.com:8443/",
            "https://lookaside.fbsbx.com.example.org/",
            "https://example.org/lookaside.fbsbx.com",
            "https://lookaside.fbsbx.com@example.org/",
            "https://me@lookaside.fbsbx.com/",
            "http://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
        ] {
            assert!(!is(foreign), "{foreign}");
        }
        let kapso = api(Provider::Kapso, "https://api.kapso.ai");
        let of_kapso = |url: &str| is_theirs(&url.parse().unwrap(), &kapso);
        assert!(of_kapso("https://api.kapso.ai/media_download?token=1"));
        assert!(
            !of_kapso("https://lookaside.fbsbx.com/?mid=1"),
            "it has a key that is not for Meta"
        );
    }
}
