//! Forgets a person, in one transaction: what they wrote, what they were sent, how they are reached,
//! their sandbox with its files, and what is stored of these. What stays is a row that says nothing
//! but that it was erased, what the calls cost as nobody's, and for 15 days the ids of messages that
//! WhatsApp may repeat.
//!
//! Container and volume are removed by the reconcile loop, snapshots by `worker/backup`. Backups of
//! the tables hold the person, sealed, until they are pruned; a tombstone sees to it that restoring
//! one erases them again.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    row::{self, Kind, Wish},
    tombstone,
};
use crate::{
    broker::usage,
    freeze,
    id::{BackupId, SandboxId, TenantId},
    inbox,
    line::unserved,
    media, outbox, receipt, reminder,
    sandbox::row as sandbox,
    tenant::{self, address, allowed, blocked},
    turn,
};

/// What was found of a person, and is gone with the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    pub messages: u64,
    pub answers: u64,
    pub reminders: u64,
    pub turns: u64,
    pub receipts: u64,
    pub addresses: u64,
    pub sandboxes: Vec<SandboxId>,
    /// What the worker is asked to do about the store.
    pub wishes: Vec<BackupId>,
    /// False: there was nothing left to erase.
    pub is_new: bool,
}

/// Erases a person and every row that turned out to be them.
pub async fn erase(
    conn: &mut PgConnection,
    id: TenantId,
    actor: Option<&str>,
    now: DateTime<Utc>,
) -> anyhow::Result<Erased> {
    let mut erased = Erased::default();
    let same = tenant::with_merged(&mut *conn, id).await?;
    // Nobody makes anything of theirs meanwhile.
    tenant::lock(&mut *conn, &same).await?;
    for tenant in same {
        let hashes = address::hashes(&mut *conn, tenant).await?;
        tombstone::set(&mut *conn, tenant, &hashes, now).await?;
        erased.messages += inbox::leave::erase(&mut *conn, tenant, now).await?;
        erased.turns += turn::erase(&mut *conn, tenant).await?;
        // After the turns: one that was just ending has left its answers by now.
        erased.receipts += receipt::erase(&mut *conn, tenant).await?;
        erased.answers += outbox::leave::erase(&mut *conn, tenant).await?;
        erased.reminders += reminder::erase(&mut *conn, tenant).await?;
        usage::erase(&mut *conn, tenant).await?;
        media::erase(&mut *conn, tenant).await?;
        media::upload::erase(&mut *conn, tenant).await?;
        freeze::erase(&mut *conn, tenant).await?;
        // While their addresses still say whose they are.
        allowed::erase(&mut *conn, tenant).await?;
        blocked::erase(&mut *conn, tenant).await?;
        unserved::erase(&mut *conn, tenant).await?;
        erased.addresses += address::erase(&mut *conn, tenant).await?;
        let sandbox = sandbox::of(&mut *conn, tenant).await?;
        if let Some(sandbox) = sandbox {
            row::drop_wishes(&mut *conn, sandbox).await?;
            sandbox::retire(&mut *conn, sandbox).await?;
            erased.sandboxes.push(sandbox);
        }
        let is_new = tenant::erase(&mut *conn, tenant).await?;
        erased.is_new |= is_new;
        if is_new || sandbox.is_some() {
            let wish = Wish {
                kind: Kind::Erase,
                parent: None,
                sandbox,
                object: None,
                actor: actor.map(str::to_owned),
            };
            let wish = row::ask(&mut *conn, &wish, now).await;
            erased.wishes.push(wish.context("ask to erase snapshots")?);
        }
    }
    Ok(erased)
}
