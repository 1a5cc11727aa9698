//! Between the asynchronous ends (Docker, Postgres, the store) and the archive in the middle, which
//! is plain reading and writing and runs on a thread of its own.

use std::io;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::buffered::BufWriter;
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::{
    seal::{BackupKey, Opening, Sealing},
    store::Store,
};

/// Fast, and near what slower levels reach with what agents keep: texts and databases.
const LEVEL: i32 = 3;
/// What waits between two ends.
const BUFFER: usize = 256 << 10;

/// Where an archive of ours is written: compressed, sealed, stored.
pub type Out<'a> = zstd::Encoder<'static, Sealing<&'a mut SyncIoBridge<BufWriter>>>;
/// Where one is read from.
pub type In = zstd::Decoder<'static, io::BufReader<Opening<SyncIoBridge<BoxedRead>>>>;
type BoxedRead = std::pin::Pin<Box<dyn AsyncRead + Send>>;

/// Something written, and not there before it is [`Written::keep`]t.
pub struct Written<T> {
    to: BufWriter,
    pub what: T,
    pub stored_bytes: u64,
}

impl<T> Written<T> {
    pub async fn keep(mut self) -> anyhow::Result<T> {
        self.to.shutdown().await.context("store a backup")?;
        Ok(self.what)
    }

    pub async fn throw_away(mut self) {
        // What is left of it is never listed.
        let _ = self.to.abort().await;
    }
}

/// Runs `pack` on a thread of its own and stores what it writes under this name.
pub async fn write<T: Send + 'static>(
    store: &Store,
    key: &BackupKey,
    name: &str,
    pack: impl FnOnce(Out<'_>) -> anyhow::Result<(Out<'_>, T)> + Send + 'static,
) -> anyhow::Result<Written<T>> {
    let (to, key, name) = (store.write(name), key.clone(), name.to_owned());
    let packing = tokio::task::spawn_blocking(move || {
        let mut to = SyncIoBridge::new(to);
        let packed = (|| {
            let sealing = Sealing::begin(&key, &name, &mut to)?;
            let out = zstd::Encoder::new(sealing, LEVEL).context("compress a backup")?;
            let (out, what) = pack(out)?;
            let (_, stored_bytes) = out.finish().context("compress a backup")?.finish()?;
            anyhow::Ok((what, stored_bytes))
        })();
        (to.into_inner(), packed)
    });
    let (mut to, packed) = packing.await.context("pack a backup")?;
    match packed {
        Ok((what, stored_bytes)) => Ok(Written {
            to,
            what,
            stored_bytes,
        }),
        Err(error) => {
            let _ = to.abort().await;
            Err(error)
        }
    }
}

/// Runs `unpack` on a thread of its own over what is stored under this name. What it returns counts
/// only once everything was read and found whole.
pub async fn read<T: Send + 'static>(
    store: &Store,
    key: &BackupKey,
    name: &str,
    unpack: impl FnOnce(&mut In) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let stored: BoxedRead = Box::pin(store.read(name).await?);
    let (key, name) = (key.clone(), name.to_owned());
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut from = open(&key, &name, SyncIoBridge::new(stored))?;
        let what = unpack(&mut from)?;
        // What an archive's reader leaves: the zeros behind its end, which may be missing.
        let left = io::copy(&mut from, &mut io::sink()).context("read a backup's end")?;
        ensure!(left <= 1 << 20, "a backup has something behind its end");
        anyhow::Ok(what)
    });
    unpacking.await.context("unpack a backup")?
}

fn open(key: &BackupKey, name: &str, from: SyncIoBridge<BoxedRead>) -> anyhow::Result<In> {
    let opening = Opening::begin(key, name, from)?;
    zstd::Decoder::new(opening).context("open a backup")
}

/// What another task sends, for a thread to read.
pub fn received(from: mpsc::Receiver<io::Result<Bytes>>) -> impl io::Read + Send {
    let from = stream::unfold(from, |mut from| async move {
        let piece = from.recv().await?;
        Some((piece, from))
    });
    SyncIoBridge::new(StreamReader::new(Box::pin(from)))
}

/// What a thread writes, for another task to read: an end that came too early shows at the thread.
pub fn handed_over() -> (impl io::Write + Send, impl Stream<Item = Bytes> + Send) {
    // Not `simplex`, whose end nobody sees.
    let (from, to) = tokio::io::duplex(BUFFER);
    let pieces = ReaderStream::with_capacity(from, BUFFER);
    (
        SyncIoBridge::new(to),
        pieces.into_stream().filter_map(async |piece| piece.ok()),
    )
}
