//! One sandbox's files into the store, and back.

use anyhow::{Context, bail};
use futures_util::StreamExt;
use std::io;
use tokio::sync::mpsc;

use super::{
    archive::{self, Count, LIMITS, Manifest},
    pipe::{self, Written},
    seal::BackupKey,
    store::Store,
};
use crate::sandbox::{Sandboxes, hold::Hold};

/// Pieces of an archive on their way.
const PIECES: usize = 16;

/// Reads what a sandbox that is held has in its volume. None: it has no volume. It is stored when it
/// is [`Written::keep`]t, which may take as long as the store likes and needs no hold any more.
pub async fn take(
    store: &Store,
    key: &BackupKey,
    sandboxes: &Sandboxes,
    hold: &Hold,
    manifest: Manifest,
    name: &str,
) -> anyhow::Result<Option<Written<Count>>> {
    let (to, from) = mpsc::channel(PIECES);
    let reading = sandboxes
        .runtime()
        .read_volume(hold.sandbox, sandboxes.image(), to);
    let writing = pipe::write(store, key, name, move |out| {
        archive::pack(pipe::received(from), out, &manifest, LIMITS)
    });
    let (read, written) = tokio::join!(reading, writing);
    match (read, written) {
        (Ok(true), Ok(written)) => Ok(Some(written)),
        (Ok(false), Ok(written)) => {
            written.throw_away().await;
            Ok(None)
        }
        (Err(error), written) => {
            if let Ok(written) = written {
                written.throw_away().await;
            }
            Err(error)
        }
        (_, Err(error)) => Err(error),
    }
}

/// Reads a snapshot from beginning to end, and only then says what it is.
pub async fn verify(
    store: &Store,
    key: &BackupKey,
    name: &str,
) -> anyhow::Result<(Manifest, Count)> {
    pipe::read(store, key, name, |from| {
        let (_, manifest, count) = archive::unpack(from, io::sink(), 0, LIMITS)?;
        Ok((manifest, count))
    })
    .await
    .with_context(|| format!("open {name}"))
}

/// Replaces everything in the volume of a sandbox that is held. What was in it is lost, also when
/// this fails: [`verify`] first.
pub async fn put_back(
    store: &Store,
    key: &BackupKey,
    sandboxes: &Sandboxes,
    hold: &Hold,
    slot: i32,
    name: &str,
) -> anyhow::Result<()> {
    sandboxes.clear(hold).await?;
    let (to, pieces) = pipe::handed_over();
    let uid = sandboxes.uid(slot);
    let reading = pipe::read(store, key, name, move |from| {
        archive::unpack(from, to, uid, LIMITS)?;
        Ok(())
    });
    let filling =
        sandboxes
            .runtime()
            .fill_volume(hold.sandbox, sandboxes.image(), uid, pieces.boxed());
    let (filled, read) = tokio::join!(filling, reading);
    match (filled, read) {
        (Ok(()), Ok(())) => Ok(()),
        // When Docker gives up, the archive's writer only finds nobody who reads.
        (Err(error), _) => Err(error),
        (_, Err(error)) => bail!(error),
    }
}
