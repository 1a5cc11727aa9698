//! What is to be added: the number, and each secret from where it comes.

use std::path::PathBuf;

use anyhow::Context;
use secrecy::SecretString;
use url::Url;

use super::Options;
use crate::{
    http::secrets,
    line::{Delivery, stored::Stored},
    operator::{answer::Refusal, line::address, secret},
    seal::{MasterKey, Opener},
    whatsapp::provider::Provider,
};

const WORD_BYTES: usize = 16;
/// Meta's ids have about 15 digits.
const MAX_NUMBER_CHARS: usize = 64;

/// All that a line comes with.
pub struct Given {
    pub access_token: SecretString,
    /// None where nobody posts webhooks.
    pub webhook_secret: Option<SecretString>,
    /// Meta's.
    pub word: Option<SecretString>,
    pub delivery: Delivery,
}

/// Where each secret comes from; nothing: asked for, or made.
pub struct Files {
    pub access_token: Option<PathBuf>,
    pub webhook_secret: Option<PathBuf>,
    pub word: Option<PathBuf>,
}

/// What is to be added, as far as it is no secret.
pub struct Asked {
    pub provider: Provider,
    pub number: String,
    pub webhook_url: Option<Url>,
    /// As the operator wants it.
    delivery: Option<Delivery>,
    /// The operator has the word already.
    pub word_is_given: bool,
}

impl Asked {
    pub fn check(options: &Options) -> Result<Self, Refusal> {
        let provider = options.provider.into();
        let foreign = match provider {
            Provider::Meta => [
                ("--api-key-file", options.api_key_file.is_some()),
                (
                    "--webhook-secret-file",
                    options.webhook_secret_file.is_some(),
                ),
                ("--webhook-url", options.webhook_url.is_some()),
            ],
            Provider::Kapso => [
                ("--access-token-file", options.access_token_file.is_some()),
                ("--app-secret-file", options.app_secret_file.is_some()),
                (
                    "--verification-token-file",
                    options.verification_token_file.is_some(),
                ),
            ],
        };
        if let Some((option, _)) = foreign.into_iter().find(|(_, is_set)| *is_set) {
            return Err(Refusal {
                code: "foreign-option",
                what: format!("{option} is not for a line of {}'s.", provider.as_str()),
                todo: "`clawkaka line add --help` says what belongs to whom.",
            });
        }
        let has_webhook = options.webhook_url.is_some() || options.webhook_secret_file.is_some();
        let delivery = match options.delivery {
            Some(Delivery::Poll) if provider == Provider::Meta || has_webhook => {
                return Err(no_poll(provider));
            }
            None if has_webhook => Some(Delivery::Webhook),
            delivery => delivery,
        };
        let number = options.phone_number_id.clone();
        let plain = number
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if number.is_empty() || number.len() > MAX_NUMBER_CHARS || !plain {
            return Err(Refusal {
                code: "bad-number",
                what: "That is no id of a number.".to_owned(),
                todo: "Copy the phone number id from the dashboard; it has about 15 digits and no plus.",
            });
        }
        Ok(Self {
            provider,
            number,
            webhook_url: options
                .webhook_url
                .clone()
                .map(|url| address::ours(provider, url))
                .transpose()?,
            delivery,
            word_is_given: options.verification_token_file.is_some(),
        })
    }

    /// How its messages get to us: as the operator says, or as before.
    pub fn delivery(&self, known: Option<&Stored>) -> Delivery {
        let before = known.map(|line| line.delivery);
        self.delivery.or(before).unwrap_or_default()
    }

    /// What was there and is not given again stays: the dashboards have it. So webhooks that are still
    /// posted for a line that is polled by now are taken.
    pub fn secrets(
        &self,
        files: Files,
        known: Option<&Stored>,
        master: &MasterKey,
        delivery: Delivery,
    ) -> anyhow::Result<Given> {
        let opener = Opener::with(master.webhook_key());
        let before = known.and_then(|line| secrets::open(&opener, line).ok());
        let (old_secret, old_word) =
            before.map_or((None, None), |(secret, word)| (Some(secret), word));
        let (token, secret) = match self.provider {
            Provider::Meta => ("access token", "app secret"),
            Provider::Kapso => ("API key", "webhook secret"),
        };
        let access_token = secret::read(token, files.access_token.as_deref())?;
        let webhook_secret = match (delivery, files.webhook_secret, &self.webhook_url) {
            (Delivery::Poll, ..) => old_secret,
            (_, None, Some(_)) => Some(old_secret.map_or_else(made, Ok)?),
            (_, file, _) => Some(secret::read(secret, file.as_deref())?),
        };
        let word = match (self.provider, files.word) {
            (Provider::Kapso, _) => None,
            (_, Some(file)) => Some(secret::read("verification token", Some(&file))?),
            (_, None) => Some(old_word.map_or_else(made, Ok)?),
        };
        Ok(Given {
            access_token,
            webhook_secret,
            word,
            delivery,
        })
    }
}

fn no_poll(provider: Provider) -> Refusal {
    match provider {
        Provider::Meta => Refusal {
            code: "not-polled",
            what: "Meta cannot be asked what people wrote: it only posts webhooks.".to_owned(),
            todo: "Leave --delivery out, or take the number to Kapso.",
        },
        Provider::Kapso => Refusal {
            code: "foreign-option",
            what: "A line that is polled has no webhook.".to_owned(),
            todo: "Leave out --webhook-url and --webhook-secret-file, or --delivery poll.",
        },
    }
}

fn made() -> anyhow::Result<SecretString> {
    let mut bytes = [0_u8; WORD_BYTES];
    getrandom::fill(&mut bytes).context("make a secret")?;
    Ok(hex::encode(bytes).into())
}
