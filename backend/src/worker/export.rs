//! People who asked for all that we hold of them get it as a document in the chat.
//!
//! From `tenant::export` to `[outbox]`: what the tables say and what their agent noted becomes one text,
//! WhatsApp takes it as a file, and the message that names that file is queued in the transaction that ends
//! the wish. Whoever dies before that begins again; to give WhatsApp a file twice harms nothing. The
//! agent's notes are read from its volume, as a snapshot reads them: it is stopped for that, and
//! whoever writes meanwhile waits some seconds.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::mpsc;

use super::Progress;
use crate::{
    backup::pipe,
    clock::Clock,
    copy,
    export::{
        notes::{self, Note},
        tables, text,
    },
    freeze,
    id::{SandboxId, TenantId},
    lease::Lease,
    line::Lines,
    operator::event::{self, Event},
    outbox::{self, Class, Draft},
    sandbox::{Sandboxes, hold::From, row},
    seal::{Opener, Sealer},
    tenant::{
        address,
        export::{self, Wish},
    },
    wake::Wakes,
    whatsapp::{client::Client, media::Kind, outgoing::Outgoing},
};

/// A turn that is open ends within minutes, and what passes of WhatsApp's and Docker's troubles passes
/// in about that time.
const AGAIN_AFTER: TimeDelta = TimeDelta::seconds(20);
/// Pieces of a volume on their way.
const PIECES: usize = 16;
/// Who is on record for it.
const ACTOR: &str = "the person";

/// What handing a person their data needs. The worker's lease must be held.
pub struct Exporting {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
    pub opener: Arc<Opener>,
    pub sealer: Arc<Sealer>,
    pub sandboxes: Sandboxes,
    pub lines: Lines,
    pub client: Client,
    pub wakes: Wakes,
}

/// Whether their agent could be read.
enum Notes {
    Read(Vec<Note>),
    /// It is being talked to.
    Busy,
}

impl Exporting {
    /// One person's.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        let now = self.clock.now();
        if !self.lease.is_held() {
            return Ok(Progress::Idle);
        }
        let Some(wish) = export::next(&self.db, now).await? else {
            return Ok(Progress::Idle);
        };
        let document = self.document(wish).await.unwrap_or_else(|error| {
            tracing::warn!(tenant.id = %wish.tenant, "failed to {error:#}");
            None
        });
        let message = match document {
            Some(document) => document,
            None if now < wish.by => {
                export::put_off(&self.db, wish.tenant, now + AGAIN_AFTER).await?;
                return Ok(Progress::Worked);
            }
            None => Outgoing::text(copy::NO_EXPORT),
        };
        self.end(wish, message, now).await?;
        Ok(Progress::Worked)
    }

    /// None: not now.
    async fn document(&self, wish: Wish) -> anyhow::Result<Option<Outgoing>> {
        // Nothing leaves us meanwhile, and no agent is touched.
        if freeze::is_frozen(&self.db, wish.tenant).await? {
            return Ok(None);
        }
        let notes = match row::of(&self.db, wish.tenant).await? {
            Some(sandbox) => match self.notes(sandbox).await? {
                Notes::Read(notes) => notes,
                Notes::Busy => return Ok(None),
            },
            None => Vec::new(),
        };
        let tables = tables::all(&self.db, &self.opener, wish.tenant).await?;
        let text = text::write(&tables, &notes);
        let id = self.give(wish.tenant, text).await?;
        Ok(Some(Outgoing::File {
            kind: Kind::Document,
            id,
            caption: Some(copy::EXPORTED.to_owned()),
            name: Some(text::NAME.to_owned()),
        }))
    }

    async fn notes(&self, sandbox: SandboxId) -> anyhow::Result<Notes> {
        let Some(hold) = self.sandboxes.hold(sandbox, From::Pause).await? else {
            return Ok(Notes::Busy);
        };
        let (to, from) = mpsc::channel(PIECES);
        let image = self.sandboxes.image();
        let reading = self.sandboxes.runtime().read_volume(sandbox, image, to);
        let from = pipe::received(from);
        let taking = tokio::task::spawn_blocking(move || notes::read(from));
        let (there, taken) = tokio::join!(reading, taking);
        drop(hold);
        // Without a volume there is not even an empty archive.
        if !there.context("read an agent's notes")? {
            return Ok(Notes::Read(Vec::new()));
        }
        let taken = taken.context("read an agent's notes")?;
        Ok(Notes::Read(taken?))
    }

    /// WhatsApp's name of it.
    async fn give(&self, tenant: TenantId, text: String) -> anyhow::Result<String> {
        let mut db = self.db.acquire().await?;
        let to = address::recipient(&mut db, &self.opener, tenant).await?;
        drop(db);
        let line = to.and_then(|(line, _)| self.lines.get(line));
        let line = line.context("hand an export over: their number is gone")?;
        let bytes = text.into_bytes();
        let given = self
            .client
            .upload(line.sender(), bytes, "text/plain", text::NAME);
        given.await.context("hand an export over")
    }

    async fn end(&self, wish: Wish, message: Outgoing, now: DateTime<Utc>) -> anyhow::Result<()> {
        let draft = Draft {
            key: format!("export/{}", wish.by.timestamp_micros()),
            class: Class::Ours,
            message,
        };
        let mut tx = self.db.begin().await?;
        // They may have left meanwhile.
        if !export::end(&mut *tx, wish).await? {
            return Ok(());
        }
        let event = Event {
            actor: ACTOR,
            tenant: Some(wish.tenant),
            kind: "export",
            detail: json!({ "sent": draft.message.kind() == "file" }),
        };
        event::record(&mut *tx, event, now).await?;
        outbox::enqueue(&mut tx, &self.sealer, wish.tenant, None, &[draft], now).await?;
        tx.commit().await.context("commit an export")?;
        self.wakes.outbox.notify_one();
        Ok(())
    }
}
