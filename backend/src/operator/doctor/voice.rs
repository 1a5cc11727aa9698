//! Whether voice messages are heard: the operator's service gets a second of silence, as a person's message would.

use bytes::Bytes;

use super::{
    facts::Facts,
    finding::{Found, fail, ok},
};
use crate::transcribe::{Transcriber, Unheard};

/// Opus in Ogg, as WhatsApp records it: fifty frames in which nothing is said. It costs what a second of speech does.
const SILENCE: &[u8] = include_bytes!("silence.ogg");

pub async fn voice(facts: &Facts) -> Result<Found, Found> {
    let Some(service) = facts.config.transcription.clone() else {
        return Ok(ok(
            "Voice messages that Kapso has not heard are not heard: people are asked to write.",
        ));
    };
    let transcriber = Transcriber {
        http: facts.outside.clone(),
        service,
    };
    let silence = Bytes::from_static(SILENCE);
    let heard = transcriber.hear(&silence, "audio/ogg", "silence.ogg");
    Ok(match heard.await {
        Ok(_) => ok("Voice messages are put into words."),
        Err(Unheard::Refused(401 | 403)) => fail(
            "What puts voice messages into words refuses the key.",
            "Put a good key into TRANSCRIPTION_API_KEY and restart the worker.",
        ),
        Err(Unheard::Refused(status)) => fail(
            format!("What puts voice messages into words refuses a good one ({status})."),
            "Compare TRANSCRIPTION_API, _BASE_URL, _MODEL and _LANGUAGE with its manual; whisper.cpp's server needs --convert, and ffmpeg beside it.",
        ),
        Err(unheard) => fail(
            format!("What puts voice messages into words is not reached: {unheard}."),
            "Look at the machine's way out, and at the service itself; or mend TRANSCRIPTION_BASE_URL.",
        ),
    })
}
