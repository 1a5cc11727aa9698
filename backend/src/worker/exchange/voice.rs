//! A voice message becomes words: those that the provider heard already, those that we heard before,
//! or those that the operator's service hears now.

use anyhow::Context;

use super::{Exchange, enclosed::Missing};
use crate::{
    broker::usage::{self, Speech},
    copy, media,
    transcribe::{Heard, Unheard},
    turn::Turn,
    whatsapp::{
        fetch::File,
        media::{Kind, Media},
    },
};

impl Exchange {
    /// `None` for what is no voice message, or one in which nobody speaks.
    pub(super) async fn words(
        &self,
        turn: &Turn,
        media: &Media,
        file: &File,
    ) -> anyhow::Result<Result<Option<String>, Missing>> {
        if media.kind != Kind::Voice {
            return Ok(Ok(None));
        }
        if let Some(words) = &media.words {
            count("heard_before");
            return Ok(Ok(Some(words.clone())));
        }
        if let Some(sealed) = media::words(&self.db, turn.tenant, &file.digest).await? {
            count("heard_before");
            let words = String::from_utf8(self.opener.open(&sealed)?)?;
            return Ok(Ok(Some(words).filter(|words| !words.is_empty())));
        }
        let Some(transcriber) = &self.transcriber else {
            count("no_service");
            return Ok(Err(copy::CANNOT_HEAR.to_owned()));
        };
        let (mime, path) = (file.mime.unwrap_or("audio/ogg"), media.path());
        let name = path.rsplit('/').next().unwrap_or(&path);
        let Heard { words, seconds } = match transcriber.hear(&file.bytes, mime, name).await {
            Ok(heard) => heard,
            Err(unheard) => {
                tracing::warn!("a voice message was not heard: {unheard}");
                count(match unheard {
                    Unheard::TooLong => "too_long",
                    Unheard::Refused(_) => "refused",
                    Unheard::Away(_) => "away",
                });
                return Ok(Err(copy::CANNOT_HEAR.to_owned()));
            }
        };
        let sealed = self.sealer.seal(words.as_bytes());
        let mut tx = self.db.begin().await?;
        media::heard(&mut *tx, turn.tenant, &file.digest, &sealed).await?;
        let speech = Speech {
            sandbox: turn.sandbox,
            tenant: turn.tenant,
            model: &transcriber.service.model,
            seconds,
        };
        usage::heard(&mut *tx, &speech, self.clock.now()).await?;
        tx.commit().await.context("keep what was heard")?;
        metrics::counter!("clawkaka_voice_seconds_total").increment(seconds.unsigned_abs());
        count(if words.is_empty() { "silent" } else { "heard" });
        Ok(Ok(Some(words).filter(|words| !words.is_empty())))
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("clawkaka_voice_total", "outcome" => outcome).increment(1);
}
