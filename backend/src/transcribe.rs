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
    /// What was said; empty when nobody spoke.
    pub async fn hear(&self, bytes: &Bytes, mime: &str, name: &str) -> Result<String, Unheard> {
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

    async fn try_hear(&self, bytes: &Bytes, mime: &str, name: &str) -> Result<String, Unheard> {
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
        Ok(match self.service.way {
            Way::Deepgram => of_deepgram(&told),
            Way::OpenAi | Way::WhisperCpp => of_whisper(&told),
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
