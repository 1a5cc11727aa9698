//! Puts a voice message into words, through whatever the operator has for it.
//!
//! Called by `worker/exchange` with bytes that came from WhatsApp. Three ways of asking cover what there
//! is: OpenAI's (and so Groq's and most others'), Deepgram's, and the server of whisper.cpp, started
//! with `--convert` where ffmpeg is. What nobody said is not made up: silence comes back as no words.
//! No error quotes what was said.

use std::{fmt, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    multipart::{Form, Part},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

/// OpenAI's and Groq's limit; an hour of WhatsApp's voice has about 10 MB.
pub const MAX_BYTES: usize = 25 << 20;
/// An hour of speech, on a slow machine of one's own.
const WITHIN: Duration = Duration::from_secs(180);
/// After a failure that may pass.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// As likely as this not speech at all (OpenAI: `no_speech_prob`), and what was heard was made up.
const NO_SPEECH: f64 = 0.8;
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// [`MAX_BYTES`] at the lowest rate that Opus has, 6 kbit/s (RFC 6716, section 2.1.1), and somewhat more.
const LONGEST: Duration = Duration::from_secs(10 * 3600);

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    OpenAi,
    Deepgram,
    WhisperCpp,
}

#[derive(Clone)]
pub struct Service {
    pub way: Way,
    pub base_url: Url,
    /// Empty where none is needed.
    pub key: SecretString,
    pub model: String,
    /// Two letters; empty: it finds out by itself.
    pub language: String,
}

#[derive(Clone)]
pub struct Transcriber {
    pub http: reqwest::Client,
    pub service: Service,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Empty when nobody spoke.
    pub words: String,
    /// How long it is, begun seconds counted: services charge by it.
    pub seconds: i64,
}

/// Why there are no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    TooLong,
    /// It cannot be, or not with these settings; the status.
    Refused(u16),
    /// It may be later. Our word for it.
    Away(&'static str),
}

impl Way {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "openai" => Some(Self::OpenAi),
            "deepgram" => Some(Self::Deepgram),
            "whisper.cpp" => Some(Self::WhisperCpp),
            _ => None,
        }
    }
}

impl Transcriber {
    /// What was said.
    pub async fn hear(&self, bytes: &Bytes, mime: &str, name: &str) -> Result<Heard, Unheard> {
        if bytes.len() > MAX_BYTES {
            return Err(Unheard::TooLong);
        }
        let mut pauses = AGAIN_AFTER.into_iter();
        loop {
            match self.try_hear(bytes, mime, name).await {
                Err(Unheard::Away(why)) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(Unheard::Away(why)),
                },
                heard => return heard,
            }
        }
    }

    async fn try_hear(&self, bytes: &Bytes, mime: &str, name: &str) -> Result<Heard, Unheard> {
        let request = self.request(bytes, mime, name);
        let request = request.map_err(|_| Unheard::Refused(0))?.timeout(WITHIN);
        let answer = request
            .send()
            .await
            .map_err(|_| Unheard::Away("no answer"))?;
        match answer.status() {
            status if status.is_success() => {}
            status if is_passing(status) => return Err(Unheard::Away("out of order")),
            status => return Err(Unheard::Refused(status.as_u16())),
        }
        let told = read(answer).await.ok_or(Unheard::Away("no JSON"))?;
        let (words, duration) = match self.service.way {
            Way::Deepgram => (of_deepgram(&told), told.pointer("/metadata/duration")),
            Way::OpenAi | Way::WhisperCpp => (of_whisper(&told), told.get("duration")),
        };
        let told = duration.and_then(seconds);
        Ok(Heard {
            words,
            seconds: begun(told.or_else(|| seconds_of_ogg(bytes)).unwrap_or_default()),
        })
    }

    fn request(&self, bytes: &Bytes, mime: &str, name: &str) -> anyhow::Result<RequestBuilder> {
        let Service {
            way,
            base_url,
            key,
            model,
            language,
        } = &self.service;
        let path: &[&str] = match way {
            Way::OpenAi => &["audio", "transcriptions"],
            Way::Deepgram => &["listen"],
            Way::WhisperCpp => &["inference"],
        };
        let mut url = base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if *way == Way::Deepgram {
            let mut query = url.query_pairs_mut();
            query.append_pair("smart_format", "true");
            if !model.is_empty() {
                query.append_pair("model", model);
            }
            match language.as_str() {
                "" => query.append_pair("detect_language", "true"),
                language => query.append_pair("language", language),
            };
            drop(query);
            let request = self.http.post(url).header("Content-Type", mime);
            let token = format!("Token {}", key.expose_secret());
            return Ok(request.header("Authorization", token).body(bytes.clone()));
        }
        let length = bytes.len() as u64;
        let file = Part::stream_with_length(bytes.clone(), length)
            .file_name(name.to_owned())
            .mime_str(mime)
            .context("name a sound's type")?;
        let mut form = Form::new()
            .part("file", file)
            .text("response_format", "verbose_json")
            .text("temperature", "0");
        if !model.is_empty() {
            form = form.text("model", model.clone());
        }
        if !language.is_empty() {
            form = form.text("language", language.clone());
        }
        let request = self.http.post(url).multipart(form);
        Ok(match key.expose_secret() {
            "" => request,
            key => request.bearer_auth(key),
        })
    }
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 409 | 425 | 429 | 500..=599)
}

/// `{"text", "segments": [{"text", "no_speech_prob"}]}`; some give only the text.
fn of_whisper(told: &Value) -> String {
    let Some(segments) = told["segments"].as_array().filter(|list| !list.is_empty()) else {
        return plain(told["text"].as_str().unwrap_or_default());
    };
    let spoken = segments
        .iter()
        .filter(|segment| segment["no_speech_prob"].as_f64().unwrap_or_default() < NO_SPEECH);
    let texts: Vec<_> = spoken
        .filter_map(|segment| segment["text"].as_str())
        .collect();
    plain(&texts.join(""))
}

/// `{"results": {"channels": [{"alternatives": [{"transcript"}]}]}}`.
fn of_deepgram(told: &Value) -> String {
    let best = told.pointer("/results/channels/0/alternatives/0/transcript");
    plain(best.and_then(Value::as_str).unwrap_or_default())
}

/// OpenAI has said it as a number and as a text.
fn seconds(told: &Value) -> Option<f64> {
    let text = || told.as_str()?.parse().ok();
    told.as_f64().or_else(text)
}

/// Where the service does not say: WhatsApp's voice is Opus in Ogg, whose last page tells the samples up
/// to its end, 48,000 a second (RFC 7845, section 4).
fn seconds_of_ogg(bytes: &[u8]) -> Option<f64> {
    let last = bytes.windows(4).rposition(|at| at == b"OggS")?;
    let samples = bytes.get(last + 6..last + 14)?.try_into().ok()?;
    Some(u64::from_le_bytes(samples) as f64 / 48_000.0)
}

/// A file may say anything of itself.
fn begun(seconds: f64) -> i64 {
    seconds.ceil().clamp(0.0, LONGEST.as_secs_f64()) as i64
}

/// Whisper writes sounds that are no words in brackets or between stars: alone they say nothing.
fn plain(text: &str) -> String {
    let text = text.replace('\0', "");
    let text = text.trim();
    let is_sound = |open: char, close: char| {
        text.starts_with(open) && text.ends_with(close) && text.matches(open).count() == 1
    };
    match is_sound('[', ']') || is_sound('(', ')') {
        true => String::new(),
        false => text.to_owned(),
    }
}

async fn read(mut answer: Response) -> Option<Value> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.ok()? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_ANSWER_BYTES {
            return None;
        }
    }
    serde_json::from_slice(&bytes).ok()
}

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("it is too long"),
            Self::Refused(status) => write!(f, "it was refused with {status}"),
            Self::Away(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_said_is_read_from_each_service() {
        assert_eq!(of_whisper(&json!({"text": " Buy milk. "})), "Buy milk.");
        let segments = json!({"text": "Buy milk. Thanks for watching!", "segments": [
            {"text": " Buy milk.", "no_speech_prob": 0.01},
            {"text": " Thanks for watching!", "no_speech_prob": 0.95},
        ]});
        assert_eq!(of_whisper(&segments), "Buy milk.");
        let deepgram =
            json!({"results": {"channels": [{"alternatives": [{"transcript": "Buy milk."}]}]}});
        assert_eq!(of_deepgram(&deepgram), "Buy milk.");
    }

    #[test]
    fn it_is_as_long_as_the_service_says_or_the_file() {
        assert_eq!(seconds(&json!(8.47)), Some(8.47));
        assert_eq!(seconds(&json!("8.47")), Some(8.47));
        assert_eq!(seconds(&json!(null)), None);
        let page =
            |samples: u64| [b"OggS\0\x04".as_slice(), &samples.to_le_bytes(), &[0; 20]].concat();
        let voice = [page(0), page(48_000), page(96_001)].concat();
        assert_eq!(seconds_of_ogg(&voice).map(begun), Some(3));
        assert_eq!(seconds_of_ogg(b"ID3 a song"), None);
        assert_eq!(seconds_of_ogg(b"OggS\0\x04"), None);
        assert_eq!(begun(f64::NAN), 0);
        assert_eq!(seconds_of_ogg(&page(u64::MAX)).map(begun), Some(36_000));
    }

    #[test]
    fn silence_is_no_words() {
        for silence in [
            json!({}),
            json!({"text": " \0"}),
            json!({"text": "[BLANK_AUDIO]"}),
            json!({"text": "(wind blowing)"}),
            json!({"text": "Thank you.", "segments": [{"text": "Thank you.", "no_speech_prob": 0.9}]}),
        ] {
            assert_eq!(of_whisper(&silence), "", "{silence}");
        }
        assert_eq!(
            of_whisper(&json!({"text": "(a) first, (b) second"})),
            "(a) first, (b) second"
        );
    }
}
