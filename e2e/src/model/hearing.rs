//! `POST /v1/audio/transcriptions`, as OpenAI and Groq have it (OpenAI docs: audio): hears what a test
//! says is spoken in a sound, and in every other one a sentence that is most likely made up.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Multipart, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{Inner, Model};

/// A sound in which somebody speaks, and how often it was heard.
#[derive(Clone, Debug)]
pub struct Speech {
    bytes: Vec<u8>,
    words: String,
    pub heard: u32,
}

impl Model {
    /// From now on these words are heard in this sound.
    pub fn hears(&self, bytes: &[u8], words: &str) {
        let speech = Speech {
            bytes: bytes.to_vec(),
            words: words.to_owned(),
            heard: 0,
        };
        self.inner
            .state
            .send_modify(|state| state.speeches.push(speech));
    }
}

pub(super) async fn transcribe(
    State(sim): State<Arc<Inner>>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Response {
    let key = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if key.and_then(|key| key.strip_prefix("Bearer ")) != Some(&sim.settings.key) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (mut sound, mut model) = (None, None);
    while let Ok(Some(field)) = form.next_field().await {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            // A type and a file name are how it knows what it is.
            "file" if field.file_name().is_some() && field.content_type().is_some() => {
                sound = field.bytes().await.ok();
            }
            "model" => model = field.text().await.ok(),
            _ => {}
        }
    }
    let (Some(sound), Some(_)) = (sound, model) else {
        let error = json!({"error": {"message": "file and model are required"}});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let mut words = None;
    sim.state.send_modify(|state| {
        let mut speeches = state.speeches.iter_mut();
        if let Some(speech) = speeches.find(|speech| speech.bytes == *sound) {
            speech.heard += 1;
            words = Some(speech.words.clone());
        }
    });
    let (text, no_speech) = match words {
        Some(words) => (words, 0.01),
        None => ("Thank you for watching!".to_owned(), 0.97),
    };
    Json(json!({
        "task": "transcribe", "language": "english", "duration": 2.4, "text": text,
        "segments": [{"id": 0, "text": text, "no_speech_prob": no_speech}],
    }))
    .into_response()
}
