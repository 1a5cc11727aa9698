//! Keys, and the sealing of what we store about people.
//!
//! `web` holds only the reading key's public half: it can seal, not read. Of another pair it holds the
//! secret half: with that it opens the secrets by which it verifies webhooks, and nothing else. The
//! worker derives all keys from the master key. A sealed value is `ephemeral public key (32) ‖ nonce (24) ‖ box`
//! (X25519 and XChaCha20-Poly1305). The ephemeral key is made once per process and renewed every
//! [`SEALS_PER_KEY`] values: a key exchange per message would cost more than the insert itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use crypto_box::{
    ChaChaBox, PublicKey, SecretKey,
    aead::{Aead, AeadCore, OsRng},
};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

/// Which key sealed a row; the next one is 2.
pub const KEY_ID: i16 = 1;
/// A new ephemeral key after so many values, so that one leaked process memory opens little.
const SEALS_PER_KEY: u32 = 10_000;
/// Opened ephemeral keys kept ready; each saves a key exchange.
const MAX_KNOWN_KEYS: usize = 1_024;
const PUBLIC_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The root of every key of a deployment.
pub struct MasterKey(SecretBox<[u8; 32]>);

impl MasterKey {
    /// From 32 bytes of base64.
    pub fn parse(text: &SecretString) -> anyhow::Result<Self> {
        let bytes = STANDARD
            .decode(text.expose_secret().trim())
            .context("not base64; make one with: openssl rand -base64 32")?;
        let Ok(key) = <[u8; 32]>::try_from(bytes) else {
            bail!("must be 32 bytes of base64; make one with: openssl rand -base64 32");
        };
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// A key for one purpose; different purposes share nothing.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(b"clawkaka"), self.0.expose_secret())
            .expand(purpose.as_bytes(), &mut key)
            .expect("32 bytes are within HKDF's limit");
        key
    }

    fn reading_key(&self) -> OpeningKey {
        OpeningKey(SecretKey::from(self.derive("seal")))
    }

    /// What `web` gets instead of the master key.
    pub fn sealing_key(&self) -> SealingKey {
        self.reading_key().sealing_key()
    }

    /// What `web` gets besides: it opens the secrets of webhooks. Nobody else's are sealed to it.
    pub fn webhook_key(&self) -> OpeningKey {
        OpeningKey(SecretKey::from(self.derive("webhook")))
    }
}

/// The secret half of a pair: opens what was sealed to it.
#[derive(Clone)]
pub struct OpeningKey(SecretKey);

impl OpeningKey {
    pub fn parse(text: &SecretString) -> anyhow::Result<Self> {
        let bytes = parse_key(text.expose_secret())?;
        Ok(Self(SecretKey::from(bytes)))
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0.to_bytes())
    }

    pub fn sealing_key(&self) -> SealingKey {
        SealingKey(self.0.public_key())
    }
}

/// The public half of the reading key.
#[derive(Clone)]
pub struct SealingKey(PublicKey);

impl SealingKey {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(Self(PublicKey::from(parse_key(text)?)))
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }
}

fn parse_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = STANDARD.decode(text.trim()).context("not base64")?;
    let Ok(key) = <[u8; 32]>::try_from(bytes) else {
        bail!("must be 32 bytes of base64, as `clawkaka keys` prints it");
    };
    Ok(key)
}

/// Seals; cannot open.
pub struct Sealer {
    to: PublicKey,
    current: Mutex<(PublicKey, Arc<ChaChaBox>)>,
    used: AtomicU32,
}

impl Sealer {
    pub fn new(to: SealingKey) -> Self {
        let current = Mutex::new(ephemeral(&to.0));
        Self {
            to: to.0,
            current,
            used: AtomicU32::new(0),
        }
    }

    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let (public, sealed_box) = {
            let mut current = self.current.lock().expect("sealing cannot panic");
            if self.used.fetch_add(1, Ordering::Relaxed) % SEALS_PER_KEY == SEALS_PER_KEY - 1 {
                *current = ephemeral(&self.to);
            }
            current.clone()
        };
        let nonce = ChaChaBox::generate_nonce(&mut OsRng);
        let boxed = sealed_box
            .encrypt(&nonce, plain)
            .expect("a message fits into memory");
        [public.as_bytes().as_slice(), nonce.as_slice(), &boxed].concat()
    }
}

fn ephemeral(to: &PublicKey) -> (PublicKey, Arc<ChaChaBox>) {
    let secret = SecretKey::generate(&mut OsRng);
    (secret.public_key(), Arc::new(ChaChaBox::new(to, &secret)))
}

/// Opens what a [`Sealer`] sealed.
pub struct Opener {
    secret: SecretKey,
    known: Mutex<HashMap<[u8; PUBLIC_KEY_BYTES], Arc<ChaChaBox>>>,
}

impl Opener {
    pub fn new(master: &MasterKey) -> Self {
        Self::with(master.reading_key())
    }

    pub fn with(key: OpeningKey) -> Self {
        Self {
            secret: key.0,
            known: Mutex::default(),
        }
    }

    pub fn open(&self, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (public, rest) = sealed
            .split_first_chunk::<PUBLIC_KEY_BYTES>()
            .context("open a sealed value: too short")?;
        let (nonce, boxed) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .context("open a sealed value: too short")?;
        self.box_from(*public)
            .decrypt(&(*nonce).into(), boxed)
            .ok()
            .context("open a sealed value: wrong CLAWKAKA_MASTER_KEY, or part of it, or damaged")
    }

    fn box_from(&self, public: [u8; PUBLIC_KEY_BYTES]) -> Arc<ChaChaBox> {
        let mut known = self.known.lock().expect("opening cannot panic");
        if known.len() >= MAX_KNOWN_KEYS {
            known.clear();
        }
        known
            .entry(public)
            .or_insert_with(|| Arc::new(ChaChaBox::new(&PublicKey::from(public), &self.secret)))
            .clone()
    }
}

/// A keyed hash: the same input gives the same output, and only the key's holder can make it.
pub fn keyed_hash(key: &[u8; 32], input: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(input);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> MasterKey {
        MasterKey::parse(&SecretString::from(STANDARD.encode([7; 32]))).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_again_and_never_looks_the_same_twice() {
        let sealer = Sealer::new(master().sealing_key());
        let (one, two) = (sealer.seal(b"hello"), sealer.seal(b"hello"));
        assert_ne!(one, two);
        let opener = Opener::new(&master());
        assert_eq!(opener.open(&one).unwrap(), b"hello");
        assert_eq!(opener.open(&two).unwrap(), b"hello");
    }

    #[test]
    fn webs_key_opens_the_secrets_of_webhooks_and_no_message() {
        let key = SecretString::from(master().webhook_key().to_base64());
        let web = Opener::with(OpeningKey::parse(&key).unwrap());
        let secret = Sealer::new(master().webhook_key().sealing_key()).seal(b"app secret");
        assert_eq!(web.open(&secret).unwrap(), b"app secret");
        let message = Sealer::new(master().sealing_key()).seal(b"hello");
        assert!(web.open(&message).is_err());
        assert!(Opener::new(&master()).open(&secret).is_err());
    }

    #[test]
    fn a_changed_byte_or_another_key_opens_nothing() {
        let mut sealed = Sealer::new(master().sealing_key()).seal(b"hello");
        let other = MasterKey::parse(&SecretString::from(STANDARD.encode([8; 32]))).unwrap();
        assert!(Opener::new(&other).open(&sealed).is_err());
        *sealed.last_mut().unwrap() ^= 1;
        assert!(Opener::new(&master()).open(&sealed).is_err());
        assert!(Opener::new(&master()).open(b"short").is_err());
    }
}
