//! The outermost layer of a backup: a stream that only the holder of the master key can read, and
//! in which a changed, missing, moved or added byte shows.
//!
//! `magic (16) ‖ salt (32) ‖ pieces`: 64 KiB of plain text each, sealed with ChaCha20-Poly1305 in
//! STREAM (Hoang, Reyhanitabar, Rogaway, Vizár), whose last piece is marked. The key is of this
//! object alone: from the master key, the salt, and the object's name, so that nobody who holds the
//! store can put one person's snapshot in another's place.

use std::io::{self, Read, Write};

use aead_stream::{DecryptorBE32, EncryptorBE32};
use anyhow::{Context, ensure};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;

use crate::seal::{MasterKey, keyed_hash};

const MAGIC: &[u8; 16] = b"clawkaka.backup1";
const SALT_BYTES: usize = 32;
/// Plain text of a piece.
const PIECE: usize = 64 << 10;
const TAG: usize = 16;
/// A key seals one object, so that its nonces need only count.
const NONCE: [u8; 7] = [0; 7];

/// What opens and seals backups; of all keys, only this one is needed for it.
#[derive(Clone)]
pub struct BackupKey([u8; 32]);

impl BackupKey {
    pub fn new(master: &MasterKey) -> Self {
        Self(master.derive("backup"))
    }

    /// A name that tells nothing of what it names, and is the same each time.
    pub fn hide(&self, what: &[u8]) -> String {
        hex::encode(&keyed_hash(&self.0, what)[..16])
    }

    fn of(&self, salt: &[u8], name: &str) -> ChaCha20Poly1305 {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(salt), &self.0)
            .expand(name.as_bytes(), &mut key)
            .expect("32 bytes are within HKDF's limit");
        ChaCha20Poly1305::new(&key.into())
    }
}

/// Seals what is written to it. Without [`Sealing::finish`] what was written cannot be opened.
pub struct Sealing<W> {
    to: W,
    stream: EncryptorBE32<ChaCha20Poly1305>,
    piece: Vec<u8>,
    written: u64,
}

impl<W: Write> Sealing<W> {
    pub fn begin(key: &BackupKey, name: &str, mut to: W) -> anyhow::Result<Self> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).context("draw a salt")?;
        to.write_all(MAGIC).context("write a backup")?;
        to.write_all(&salt).context("write a backup")?;
        Ok(Self {
            to,
            stream: EncryptorBE32::from_aead(key.of(&salt, name), &NONCE.into()),
            piece: Vec::with_capacity(PIECE),
            written: (MAGIC.len() + SALT_BYTES) as u64,
        })
    }

    /// Marks the end; what it was written to, and how many bytes it got.
    pub fn finish(self) -> anyhow::Result<(W, u64)> {
        let Self {
            mut to,
            stream,
            piece,
            written,
        } = self;
        let sealed = stream.encrypt_last(piece.as_slice()).ok();
        let sealed = sealed.context("seal a backup")?;
        to.write_all(&sealed).context("write a backup")?;
        to.flush().context("write a backup")?;
        Ok((to, written + sealed.len() as u64))
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Sealed only when more follows: the last piece is another kind.
        if self.piece.len() == PIECE && !bytes.is_empty() {
            let sealed = self.stream.encrypt_next(self.piece.as_slice());
            let sealed = sealed.map_err(|_| io::Error::other("a backup is too long to seal"))?;
            self.to.write_all(&sealed)?;
            self.written += sealed.len() as u64;
            self.piece.clear();
        }
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Opens what [`Sealing`] wrote. Nothing that was tampered with is ever handed out; that nothing
/// was cut off is known only when all was read.
pub struct Opening<R> {
    from: R,
    /// None: the last piece is open.
    stream: Option<DecryptorBE32<ChaCha20Poly1305>>,
    /// Sealed and not opened yet: whether it is the last one shows only by what follows.
    sealed: Vec<u8>,
    open: Vec<u8>,
    at: usize,
}

impl<R: Read> Opening<R> {
    pub fn begin(key: &BackupKey, name: &str, mut from: R) -> anyhow::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic).context("read a backup")?;
        ensure!(&magic == MAGIC, "this is no backup of ours");
        let mut salt = [0; SALT_BYTES];
        from.read_exact(&mut salt).context("read a backup")?;
        let stream = DecryptorBE32::from_aead(key.of(&salt, name), &NONCE.into());
        let sealed = piece(&mut from).context("read a backup")?;
        Ok(Self {
            from,
            stream: Some(stream),
            sealed,
            open: Vec::new(),
            at: 0,
        })
    }

    fn open_next(&mut self) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        let following = piece(&mut self.from)?;
        let opened = match following.is_empty() {
            true => stream.decrypt_last(self.sealed.as_slice()),
            false => {
                let opened = stream.decrypt_next(self.sealed.as_slice());
                self.stream = Some(stream);
                opened
            }
        };
        self.open = opened.map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "wrong CLAWKAKA_MASTER_KEY, or the backup is damaged, cut off or not what its name says",
            )
        })?;
        (self.sealed, self.at) = (following, 0);
        Ok(())
    }
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.open.len() {
            if self.stream.is_none() {
                return Ok(0);
            }
            self.open_next()?;
        }
        let given = to.len().min(self.open.len() - self.at);
        to[..given].copy_from_slice(&self.open[self.at..self.at + given]);
        self.at += given;
        Ok(given)
    }
}

/// The next sealed piece, or what is left of it; empty at the end.
fn piece(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE + TAG);
    from.take((PIECE + TAG) as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    fn key(byte: u8) -> BackupKey {
        BackupKey::new(&MasterKey::parse(&STANDARD.encode([byte; 32]).into()).unwrap())
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::begin(&key(7), "a/name", Vec::new()).unwrap();
        sealing.write_all(plain).unwrap();
        let (bytes, written) = sealing.finish().unwrap();
        assert_eq!(bytes.len() as u64, written);
        bytes
    }

    fn opened(key: &BackupKey, name: &str, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Opening::begin(key, name, sealed)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn what_was_sealed_opens_whatever_its_length() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5] {
            let plain: Vec<_> = (0..length).map(|at| (at % 251) as u8).collect();
            let sealed = sealed(&plain);
            assert!(length < 32 || !sealed.windows(32).any(|part| part == &plain[..32]));
            assert!(
                opened(&key(7), "a/name", &sealed).unwrap() == plain,
                "{length}"
            );
        }
    }

    #[test]
    fn another_key_or_another_name_opens_nothing() {
        let sealed = sealed(b"hello");
        assert!(opened(&key(8), "a/name", &sealed).is_err());
        assert!(
            opened(&key(7), "b/name", &sealed).is_err(),
            "one put in another's place"
        );
    }

    #[test]
    fn a_changed_byte_anywhere_shows() {
        let whole = sealed(&[1; PIECE + 100]);
        for at in [0, 20, 60, 1_000, PIECE + 70, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(opened(&key(7), "a/name", &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_end_that_was_cut_off_moved_or_added_shows() {
        let head = MAGIC.len() + SALT_BYTES;
        let whole = sealed(&[1; 2 * PIECE + 100]);
        let sealed_piece = PIECE + TAG;
        for length in [
            0,
            10,
            head,
            head + 7,
            head + sealed_piece,
            head + 2 * sealed_piece,
            whole.len() - 1,
        ] {
            assert!(
                opened(&key(7), "a/name", &whole[..length]).is_err(),
                "{length} bytes"
            );
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(opened(&key(7), "a/name", &longer).is_err());
        let mut swapped = whole[..head].to_vec();
        swapped.extend_from_slice(&whole[head + sealed_piece..head + 2 * sealed_piece]);
        swapped.extend_from_slice(&whole[head..head + sealed_piece]);
        swapped.extend_from_slice(&whole[head + 2 * sealed_piece..]);
        assert!(opened(&key(7), "a/name", &swapped).is_err());
    }
}
