//! What came with a person's messages: fetched from WhatsApp, put into their agent's inbox folder,
//! pictures shown to the model besides, voice put into words.
//!
//! What cannot be had is left out and the person hears of it in a sentence of ours; the rest of what
//! they asked goes on. Bringing a file twice puts the same bytes under the same name.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Exchange, Reached, asked::Asked};
use crate::{
    copy,
    gateway::protocol::Attachment,
    media,
    tenant::address,
    turn::{self, Turn},
    whatsapp::{
        fetch::{Failure, File},
        media::Media,
    },
};

/// What models take as pictures.
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/gif"];
/// Of one question, as base64 well below the 26 MB that a gateway takes in a frame. What is beyond
/// is in the folder all the same.
const MAX_SHOWN_BYTES: usize = 12 << 20;
/// OpenClaw refuses larger ones.
const MAX_PICTURE_BYTES: usize = 6 << 20;

/// A sentence of ours in place of what cannot be had.
pub(super) type Missing = String;

impl Exchange {
    /// Leaves in `asked` what the agent can be asked; returns the pictures that it is shown.
    pub(super) async fn bring(
        &self,
        turn: &Turn,
        reached: &Reached,
        asked: &mut Asked,
    ) -> anyhow::Result<Vec<Attachment>> {
        let mut kept = Vec::new();
        let mut shown = Vec::new();
        let mut room = MAX_SHOWN_BYTES;
        for (at, mut told) in asked.told.drain(..).enumerate() {
            let Some(media) = &told.media else {
                kept.push(told);
                continue;
            };
            match self.bring_one(turn, reached, media).await? {
                Ok((file, words)) => {
                    if let Some(words) = words {
                        told.text = format!("{}\n{words}", told.text);
                    }
                    if let Some(picture) = picture(&media.path(), &file, room) {
                        room -= file.bytes.len();
                        shown.push(picture);
                    }
                    kept.push(told);
                }
                // It was there when the agent was asked, before we died: it still is.
                Err(_) if turn::was_submitted(&self.db, turn).await? => kept.push(told),
                Err(sentence) => self.say_missing(turn, at, &sentence).await?,
            }
        }
        asked.told = kept;
        Ok(shown)
    }

    async fn bring_one(
        &self,
        turn: &Turn,
        reached: &Reached,
        media: &Media,
    ) -> anyhow::Result<Result<(File, Option<String>), Missing>> {
        let file = match self.fetch(turn, media).await? {
            Ok(file) => file,
            Err(missing) => return Ok(Err(missing)),
        };
        let (bytes, now) = (file.bytes.len() as i64, self.clock.now());
        media::brought(&self.db, turn.tenant, &file.digest, bytes, now).await?;
        let words = match self.words(turn, media, &file).await? {
            Ok(words) => words,
            Err(missing) => return Ok(Err(missing)),
        };
        let put = self.put(reached, media, &file).await?;
        Ok(put.map(|()| (file, words)))
    }

    async fn fetch(&self, turn: &Turn, media: &Media) -> anyhow::Result<Result<File, Missing>> {
        let mut db = self.db.acquire().await?;
        let lately = media::bytes_lately(&mut *db, turn.tenant, self.clock.now()).await?;
        let to = address::recipient(&mut db, &self.opener, turn.tenant).await?;
        drop(db);
        if lately >= self.media_per_day {
            count("over_limit");
            return Ok(Err(copy::ENOUGH_FILES.to_owned()));
        }
        let line = to.and_then(|(line, _)| self.typing.lines.get(line));
        let fetched = match &line {
            Some(line) => self.fetcher.fetch(line.sender(), media).await,
            None => Err(Failure::Gone),
        };
        count(match &fetched {
            Ok(_) => "fetched",
            Err(Failure::Gone) => "gone",
            Err(Failure::TooLarge) => "too_large",
            Err(Failure::Wrong(_)) => "wrong",
            Err(Failure::Away(_)) => "away",
        });
        let kind = media.kind.as_str();
        Ok(fetched.map_err(|failure| {
            tracing::warn!(kind, "a file is left out: {failure}");
            copy::cannot_open(kind, failure == Failure::TooLarge)
        }))
    }

    /// What cannot be put there is not fetched again and again: the sandbox may be at fault.
    async fn put(
        &self,
        reached: &Reached,
        media: &Media,
        file: &File,
    ) -> anyhow::Result<Result<(), Missing>> {
        let (endpoint, path) = (&reached.endpoint, media.path());
        let put = tokio::select! {
            put = self.sandboxes.put(endpoint, &path, &file.bytes) => put,
            () = self.sandboxes.lost(endpoint) => {
                anyhow::bail!("put a file into a sandbox: its container is gone")
            }
        };
        let Err(error) = put else { return Ok(Ok(())) };
        tracing::warn!(sandbox.id = %endpoint.sandbox, "failed to {error:#}");
        Ok(Err(
            match self.sandboxes.disk_is_full(endpoint.sandbox).await {
                true => copy::DISK_FULL.to_owned(),
                false => copy::cannot_open(media.kind.as_str(), false),
            },
        ))
    }

    async fn say_missing(&self, turn: &Turn, at: usize, sentence: &str) -> anyhow::Result<()> {
        let mut db = self.db.acquire().await?;
        let key = format!("cannot-open/{}/{at}", turn.id);
        self.say(&mut db, turn, &key, sentence).await?;
        self.wakes.outbox.notify_one();
        Ok(())
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("clawkaka_media_total", "outcome" => outcome).increment(1);
}

fn picture(path: &str, file: &File, room: usize) -> Option<Attachment> {
    let mime_type = file.mime.filter(|mime| PICTURES.contains(mime))?;
    let fits = file.bytes.len() <= room.min(MAX_PICTURE_BYTES);
    fits.then(|| Attachment {
        r#type: "image",
        mime_type,
        file_name: path.rsplit('/').next().unwrap_or(path).to_owned(),
        content: STANDARD.encode(&file.bytes),
    })
}
