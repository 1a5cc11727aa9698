//! What webhooks are signed with: the secrets of all lines, in memory, as they are now.
//!
//! A body says only inside whose it is, and nothing inside is believed before the signature is. So every
//! secret of its provider is tried; whichever fits says for which numbers the sender may speak. Who
//! owns one app cannot write as somebody on a line of another: what names a number that is not its own is
//! kept, and belongs to no line (`webhook`).

use std::sync::{Arc, RwLock};

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use crate::{
    config::Named,
    line::stored::Stored,
    seal::Opener,
    whatsapp::{provider::Provider, signature},
};

/// One secret, and all numbers whose webhooks are signed with it: those of one app.
#[derive(Clone)]
struct Signer {
    provider: Provider,
    secret: SecretString,
    numbers: Arc<Vec<String>>,
}

#[derive(Clone, Default)]
struct Known {
    signers: Vec<Signer>,
    /// Those of Meta's registrations.
    words: Vec<SecretString>,
}

/// Clones are the same.
#[derive(Clone)]
pub struct Secrets {
    named: Arc<Known>,
    /// Of the environment and added, together.
    known: Arc<RwLock<Arc<Known>>>,
    opener: Option<Arc<Opener>>,
}

/// The numbers that a proven body may speak for.
#[derive(Clone)]
pub struct Speaker(Arc<Vec<String>>);

impl Speaker {
    pub fn speaks_for(&self, number: &str) -> bool {
        self.0.iter().any(|known| known == number)
    }
}

impl Secrets {
    /// Those of the environment. Without an opener there will be no others.
    pub fn of<'a>(named: impl Iterator<Item = Named<'a>>, opener: Option<Opener>) -> Self {
        let mut known = Known::default();
        for line in named {
            let secret = line.webhook_secret.clone();
            known.add(line.api.provider, secret, Some(line.number));
            known.words.extend(line.verification_token.cloned());
        }
        Self {
            named: Arc::new(known.clone()),
            known: Arc::new(RwLock::new(Arc::new(known))),
            opener: opener.map(Arc::new),
        }
    }

    /// Puts these in the place of all that operators added before. Those of the environment win.
    pub fn set_added(&self, lines: &[Stored]) {
        let mut known = Known::clone(&self.named);
        // Of those that are polled nobody posts anything.
        let lines = lines.iter().filter(|line| line.webhook_secret.is_some());
        let lines: Vec<_> = lines.collect();
        if self.opener.is_none() && !lines.is_empty() {
            tracing::error!(
                lines = lines.len(),
                "without CLAWKAKA_WEBHOOK_KEY the webhooks of the lines that were added are refused"
            );
        }
        for (line, opener) in lines.into_iter().zip(self.opener.iter().cycle()) {
            if self.is_named(line.provider, &line.phone_number_id) {
                continue;
            }
            match open(opener, line) {
                Ok((secret, _)) if line.removed => known.add(line.provider, secret, None),
                Ok((secret, word)) => {
                    known.add(line.provider, secret, Some(&line.phone_number_id));
                    known.words.extend(word);
                }
                // The others must go on.
                Err(error) => {
                    tracing::error!(line.id = %line.id, "its webhooks are refused: {error:#}");
                }
            }
        }
        *self.known.write().expect("reading it cannot panic") = Arc::new(known);
    }

    /// Whoever signed this body, if one of ours did.
    pub fn prove(&self, provider: Provider, claimed: Option<&str>, body: &[u8]) -> Option<Speaker> {
        let known = self.now();
        let mut signers = known.signers.iter();
        let signer = signers.find(|signer| {
            let secret = signer.secret.expose_secret().as_bytes();
            signer.provider == provider && signature::verify(provider, secret, claimed, body)
        })?;
        Some(Speaker(signer.numbers.clone()))
    }

    /// Whether it is the word of one of our registrations. An empty one is nobody's.
    pub fn is_our_word(&self, word: &str) -> bool {
        let known = self.now();
        let found = known.words.iter().fold(Choice::from(0), |found, ours| {
            found | ours.expose_secret().as_bytes().ct_eq(word.as_bytes())
        });
        !word.is_empty() && bool::from(found)
    }

    fn now(&self) -> Arc<Known> {
        let known = self.known.read();
        known.expect("changing it cannot panic").clone()
    }

    fn is_named(&self, provider: Provider, number: &str) -> bool {
        let mut signers = self.named.signers.iter();
        signers.any(|one| one.provider == provider && one.numbers.iter().any(|n| n == number))
    }
}

impl Known {
    fn add(&mut self, provider: Provider, secret: SecretString, number: Option<&str>) {
        let same = |signer: &&mut Signer| {
            signer.provider == provider && signer.secret.expose_secret() == secret.expose_secret()
        };
        let number = number.map(str::to_owned);
        match self.signers.iter_mut().find(same) {
            Some(signer) => Arc::make_mut(&mut signer.numbers).extend(number),
            None => self.signers.push(Signer {
                provider,
                secret,
                numbers: Arc::new(number.into_iter().collect()),
            }),
        }
    }
}

/// What web may read of a line: the secret of its webhook, and the word of its registration.
pub fn open(
    opener: &Opener,
    line: &Stored,
) -> anyhow::Result<(SecretString, Option<SecretString>)> {
    let text = |sealed: &[u8]| -> anyhow::Result<SecretString> {
        Ok(String::from_utf8(opener.open(sealed)?)?.into())
    };
    let secret = text(line.webhook_secret.as_deref().unwrap_or_default())?;
    let word = line.verification_token.as_deref().map(text).transpose()?;
    Ok((secret, word))
}
