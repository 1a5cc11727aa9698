//! From what an assistant wants sent to messages that can be: files are read from its folder and given to
//! WhatsApp, which names them; the message then carries that name.
//!
//! What cannot be sent as it was meant becomes words, never an error and never nothing. Done before the
//! turn ends, while the sandbox is awake: giving WhatsApp a file twice harms nothing.

use std::time::Duration;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{Exchange, said::Wanted};
use crate::{
    copy, freeze,
    id::TenantId,
    media::upload,
    outbox::{self, Draft},
    sandbox::Endpoint,
    tenant::address,
    whatsapp::{
        answer::Part,
        failure::Class as Refused,
        media::Kind,
        outgoing::Outgoing,
        sendable::{MAX_BYTES, Sendable, sendable},
    },
};

/// Files in memory at a time, in all: 16 MB each, and as much again while one is unpacked.
pub const FILES_AT_ONCE: usize = 2;
/// After a failure that may pass; then the person gets a sentence in place of the file.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// While everything is frozen nothing leaves us, and the turn waits.
const LOOK_FOR_THAW_EVERY: Duration = Duration::from_secs(1);
/// Of a document's name; a phone shows some thirty.
const MAX_NAME_CHARS: usize = 120;
/// As the assistant sees it, should it write the whole path.
const WORKSPACE: &str = "/state/workspace/";

/// To whom an assistant speaks, and where it is.
pub(in crate::worker) struct Towards<'a> {
    pub tenant: TenantId,
    pub endpoint: &'a Endpoint,
    /// The person's message that it answers, by WhatsApp's id.
    pub answers: Option<&'a str>,
}

impl Exchange {
    /// What is new of it, within the limit: after a reset of the cursor a transcript repeats what was sent
    /// before.
    pub(in crate::worker) async fn compose(
        &self,
        towards: &Towards<'_>,
        mut wanted: Vec<Wanted>,
    ) -> anyhow::Result<Vec<Draft>> {
        let keys: Vec<_> = wanted.iter().map(|one| one.key.clone()).collect();
        let known = outbox::known(&self.db, towards.tenant, &keys).await?;
        wanted.retain(|one| !known.contains(&one.key));
        if wanted.len() > self.messages_per_turn {
            let over = wanted.len() - self.messages_per_turn;
            metrics::counter!("clawkaka_messages_cut_total").increment(over as u64);
            wanted.truncate(self.messages_per_turn);
        }
        let mut drafts = Vec::with_capacity(wanted.len());
        for Wanted { key, class, part } in wanted {
            if let Some(message) = self.message(towards, part, &drafts).await? {
                drafts.push(Draft {
                    key,
                    class,
                    message,
                });
            }
        }
        Ok(drafts)
    }

    /// `before` is what goes out before it in the same answer.
    async fn message(
        &self,
        towards: &Towards<'_>,
        part: Part,
        before: &[Draft],
    ) -> anyhow::Result<Option<Outgoing>> {
        Ok(match part {
            Part::Ready(message) => Some(message),
            // Unasked there is nothing to react to.
            Part::Reaction(emoji) => towards.answers.map(|to| Outgoing::Reaction {
                to: to.to_owned(),
                emoji,
            }),
            Part::Template(name) => Some(self.template(towards, &name, before).await?),
            Part::File {
                wish,
                path,
                caption,
            } => Some(self.file(towards, wish, &path, caption).await?),
        })
    }

    async fn file(
        &self,
        towards: &Towards<'_>,
        wish: Kind,
        path: &str,
        caption: Option<String>,
    ) -> anyhow::Result<Outgoing> {
        let _place = self.files.acquire().await.context("wait for a place")?;
        let read = match below_workspace(path) {
            Some(path) => {
                self.sandboxes
                    .file(towards.endpoint, path, MAX_BYTES + 1)
                    .await
            }
            None => Ok(None),
        };
        // An engine that does not answer must not keep the words back.
        let bytes = read.unwrap_or_else(|error| {
            tracing::warn!("failed to {error:#}");
            None
        });
        let sent = match bytes {
            None => Err("missing"),
            Some(bytes) => match sendable(wish, &bytes) {
                None => Err("unfit"),
                Some(fit) => match self.give(towards.tenant, fit, name(path), bytes).await? {
                    None => Err("refused"),
                    Some(id) => Ok((fit.kind, id)),
                },
            },
        };
        let outcome = sent.as_ref().err().copied().unwrap_or("sent");
        metrics::counter!("clawkaka_files_sent_total", "outcome" => outcome).increment(1);
        Ok(match sent {
            Ok((kind, id)) => Outgoing::File {
                kind,
                id,
                caption,
                name: Some(name(path).to_owned()),
            },
            Err(why) => {
                tracing::warn!(why, kind = wish.as_str(), "a file is not sent");
                let sentence = copy::cannot_send(wish.as_str());
                let words = caption.into_iter().chain([sentence]);
                Outgoing::text(words.collect::<Vec<_>>().join("\n"))
            }
        })
    }

    /// WhatsApp's name of a file that it has, now or from before. `None`: it does not take it.
    async fn give(
        &self,
        tenant: TenantId,
        fit: Sendable,
        name: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<Option<String>> {
        let (digest, now) = (Sha256::digest(&bytes).into(), self.clock.now());
        if let Some(id) = upload::find(&self.db, tenant, &digest, now).await? {
            return Ok(Some(id));
        }
        while freeze::is_frozen(&self.db, tenant).await? {
            tokio::time::sleep(LOOK_FOR_THAW_EVERY).await;
        }
        let mut db = self.db.acquire().await?;
        let to = address::recipient(&mut db, &self.opener, tenant).await?;
        drop(db);
        let Some(line) = to.and_then(|(line, _)| self.typing.lines.get(line)) else {
            return Ok(None);
        };
        let mut pauses = AGAIN_AFTER.into_iter();
        loop {
            let client = &self.typing.client;
            let given = client.upload(line.sender(), bytes.clone(), fit.mime, name);
            let error = match given.await {
                Ok(id) => {
                    upload::keep(&self.db, tenant, &digest, &id, now).await?;
                    return Ok(Some(id));
                }
                Err(error) => error,
            };
            tracing::warn!("a file was not taken: {error}");
            let passes = matches!(
                error.class,
                Refused::NotConnected | Refused::Unclear | Refused::Transient | Refused::Throttled
            );
            match pauses.next().filter(|_| passes) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Ok(None),
            }
        }
    }
}

/// Only what is in its own folder. Where links in there lead is shut in with it.
fn below_workspace(path: &str) -> Option<&str> {
    let path = path.strip_prefix(WORKSPACE).unwrap_or(path);
    let path = path.strip_prefix("./").unwrap_or(path);
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(is_plain).then_some(path)
}

/// What the person's phone shows, and what it is given to WhatsApp as.
fn name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let end = name.char_indices().nth(MAX_NAME_CHARS);
    &name[..end.map_or(name.len(), |(at, _)| at)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_workspace_is_read() {
        for path in [
            "files/a.png",
            "./files/a.png",
            "/state/workspace/files/a.png",
        ] {
            assert_eq!(below_workspace(path), Some("files/a.png"), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../openclaw.json",
            "a/../../b",
            "a//b",
            "a\0b",
            "~/../x/..",
        ] {
            assert_eq!(below_workspace(path), None, "{path}");
        }
    }

    #[test]
    fn a_file_is_named_by_the_end_of_its_path_and_not_at_length() {
        assert_eq!(name("files/Plan für Mai.pdf"), "Plan für Mai.pdf");
        assert_eq!(name(&"ä".repeat(500)).chars().count(), MAX_NAME_CHARS);
    }
}
