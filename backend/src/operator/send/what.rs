//! What is sent: words, a template, or a file, which WhatsApp is given first.

use std::{fs::File, io::Read, path::PathBuf};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::to::Person;
use crate::{
    config::Config,
    freeze,
    id::LineId,
    line::{Line, stored, template::Template},
    media::upload,
    operator::answer::Refusal,
    seal::{MasterKey, Opener},
    whatsapp::{
        client::{self, Client},
        media::Kind,
        outgoing::Outgoing,
        sendable::{MAX_BYTES, Sendable, sendable},
        split::{MAX_TEXT_CHARS, split},
    },
};

/// More is no message any more; some twenty of WhatsApp's.
const MAX_CHARS: usize = 20 * MAX_TEXT_CHARS;
/// WhatsApp allows so many below a file (Meta docs: messages, media object).
const MAX_CAPTION_CHARS: usize = 1_024;
const STANDARD_INPUT: &str = "-";

#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct What {
    /// What we say; `-`: from standard input.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// A template that Meta approved for the number, without variables.
    #[arg(long, value_name = "LANGUAGE=NAME")]
    template: Option<Template>,
    /// A photo, JPEG or PNG of up to 5 MB; `-`: from standard input.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A text, PDF, or document of an office, of up to 16 MB; `-`: from standard input.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

/// What may go with a file. No part of [`What`], of which there is one.
#[derive(Args)]
#[group(multiple = true)]
pub struct Label {
    /// Below the file.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["text", "template"])]
    caption: Option<String>,
    /// What the phone calls the document; the file's own name unless given.
    #[arg(long = "name", value_name = "NAME", conflicts_with_all = ["text", "template", "image"])]
    called: Option<String>,
}

/// What goes out, in order.
pub enum Said {
    Words(Vec<Outgoing>),
    File(Sent),
}

/// A file that WhatsApp would take.
pub struct Sent {
    fit: Sendable,
    bytes: Vec<u8>,
    caption: Option<String>,
    name: String,
}

impl What {
    pub fn read(self, label: Label) -> anyhow::Result<Said> {
        if let Some(Template { language, name }) = self.template {
            return Ok(Said::Words(vec![Outgoing::Template { name, language }]));
        }
        let (wish, path) = match (self.text, self.image, self.document) {
            (Some(said), ..) => {
                let parts = split(&text(said)?, MAX_TEXT_CHARS).into_iter();
                return Ok(Said::Words(parts.map(Outgoing::text).collect()));
            }
            (_, Some(path), _) => (Kind::Image, path),
            (_, _, Some(path)) => (Kind::Document, path),
            _ => unreachable!("clap asks for one of them"),
        };
        let caption = label.caption.filter(|caption| !caption.trim().is_empty());
        if caption
            .as_ref()
            .is_some_and(|text| text.chars().count() > MAX_CAPTION_CHARS)
        {
            return Err(refusal(
                "long-caption",
                "The caption is too long.",
                "Use up to 1024 characters, or send a text of its own.",
            )
            .into());
        }
        let own = path
            .file_name()
            .filter(|_| path.as_os_str() != STANDARD_INPUT);
        let own = own.map(|name| name.to_string_lossy().into_owned());
        let bytes = bytes(&path)?;
        let fit = sendable(wish, &bytes).filter(|fit| wish == Kind::Document || fit.kind == wish);
        let fit = fit.ok_or_else(|| {
            refusal(
                "unfit-file",
                "WhatsApp does not take this file.",
                "As --image: JPEG or PNG of up to 5 MB. As --document: text, PDF, Word, Excel or PowerPoint of up to 16 MB.",
            )
        })?;
        let name = label
            .called
            .or(own)
            .unwrap_or_else(|| wish.as_str().to_owned());
        Ok(Said::File(Sent {
            fit,
            bytes,
            caption,
            name,
        }))
    }
}

fn refusal(code: &'static str, what: &str, todo: &'static str) -> Refusal {
    Refusal {
        code,
        what: what.to_owned(),
        todo,
    }
}

fn bytes(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A little more than may be, so that too much is seen.
    let most = MAX_BYTES as u64 + 1;
    let read = match path.as_os_str() == STANDARD_INPUT {
        true => std::io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Refusal {
        code: "no-file",
        what: format!("{} cannot be read: {error}.", path.display()),
        todo: "Name a file that you may read, or - and standard input.",
    })?;
    Ok(bytes)
}

fn text(said: String) -> anyhow::Result<String> {
    let mut said = said;
    if said == STANDARD_INPUT {
        said.clear();
        // A little more than may be, so that too much is seen.
        let most = (4 * MAX_CHARS + 1) as u64;
        let read = std::io::stdin().lock().take(most).read_to_string(&mut said);
        read.context("read the text from standard input")?;
    }
    let said = said.trim_end().to_owned();
    if said.trim().is_empty() || said.contains('\0') {
        let todo = "Say something: --text 'Hello', or --text - and standard input.";
        return Err(refusal("no-text", "There is no text.", todo).into());
    }
    if said.chars().count() > MAX_CHARS {
        return Err(refusal(
            "too-long",
            "That would be more than 20 messages.",
            "Say it shorter.",
        )
        .into());
    }
    Ok(said)
}

impl Sent {
    /// The message that names the file as WhatsApp does. One that it was given for this person before is
    /// not given again; `None` where that may not be, and it is not known.
    pub async fn message(
        self,
        db: &PgPool,
        config: &Config,
        master: &MasterKey,
        person: &Person,
        is_queued: bool,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<Outgoing>> {
        let digest = Sha256::digest(&self.bytes).into();
        let id = match upload::find(db, person.tenant, &digest, now).await? {
            Some(id) => id,
            None if is_queued => return Ok(None),
            None => {
                let id = self.give(db, config, master, person).await?;
                upload::keep(db, person.tenant, &digest, &id, now).await?;
                id
            }
        };
        Ok(Some(Outgoing::File {
            kind: self.fit.kind,
            id,
            caption: self.caption,
            name: Some(self.name),
        }))
    }

    async fn give(
        &self,
        db: &PgPool,
        config: &Config,
        master: &MasterKey,
        person: &Person,
    ) -> anyhow::Result<String> {
        if freeze::is_frozen(db, person.tenant).await? {
            let todo = "`clawkaka unfreeze` lets it go again; a text would wait for that.";
            return Err(refusal(
                "frozen",
                "They are frozen, so WhatsApp is given no file.",
                todo,
            )
            .into());
        }
        let line = line(db, config, master, person.line).await?;
        let client = Client::new(client::http_builder().build()?);
        let given = client.upload(line.sender(), self.bytes.clone(), self.fit.mime, &self.name);
        let given = given.await.map_err(|error| Refusal {
            code: "file-not-taken",
            what: format!("WhatsApp did not take the file: {error}."),
            todo: "`clawkaka line test` says whether the line works; else try again.",
        });
        Ok(given?)
    }
}

/// With what it sends with: of the environment, or added.
async fn line(
    db: &PgPool,
    config: &Config,
    master: &MasterKey,
    id: LineId,
) -> anyhow::Result<Line> {
    if let Some(added) = stored::all(db)
        .await?
        .iter()
        .find(|line| line.id == id && !line.removed)
    {
        return Line::open(&Opener::new(master), config.api(added.provider), added);
    }
    let listed = stored::list(db).await?;
    let listed = listed.iter().find(|line| line.id == id);
    let mut named = config.lines();
    let named = named.find(|line| {
        listed.is_some_and(|one| {
            (one.provider, one.phone_number_id.as_str()) == (line.api.provider, line.number)
        })
    });
    let named = named.ok_or_else(|| {
        let todo = "Run this where the worker runs: ./infra/operator.sh does.";
        refusal(
            "no-token",
            "What this line sends with is not known here.",
            todo,
        )
    })?;
    Ok(Line::of(id, &named))
}
