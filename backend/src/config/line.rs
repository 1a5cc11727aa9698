//! The lines that the environment names: at most one of each provider, with all its secrets in memory;
//! and how what people write to Kapso's gets to us.

use std::time::Duration;

use clap::ValueEnum;
use secrecy::SecretString;

use super::{Check, Config, Raw, Roles};
use crate::{
    line::{Delivery, template::Templates},
    whatsapp::provider::{Api, Provider},
};

/// Kapso takes 100 requests a minute from a key on its free plan, sending included (Kapso docs: rate
/// limits). Two lists at this pace need 32 of them.
const POLL_AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// Beyond it nobody would notice for long that asking fails (the alert KapsoNotPolled: 5 minutes).
pub const POLL_AT_LEAST_EVERY: Duration = Duration::from_secs(120);
/// Somebody waits for it.
const POLL_EVERY: Duration = POLL_AT_MOST_EVERY;
/// A safety net: what it finds is late in any case.
pub const POLL_BESIDE_A_WEBHOOK_EVERY: Duration = Duration::from_secs(60);

/// The line of Meta's that the environment names. Which parts are set depends on the roles; without
/// such a line all are empty.
#[derive(Clone)]
pub struct WhatsApp {
    pub app_secret: SecretString,
    pub verification_token: SecretString,
    pub access_token: SecretString,
    pub phone_number_id: String,
    /// Empty where the token itself tells it.
    pub business_account_id: String,
    pub api: Api,
    pub templates: Templates,
}

/// The line of Kapso's that the environment names, or nothing but empty words.
#[derive(Clone)]
pub struct Kapso {
    /// Needed of `web` where messages are brought.
    pub webhook_secret: SecretString,
    pub api_key: SecretString,
    pub phone_number_id: String,
    pub api: Api,
    pub delivery: Delivery,
    pub poll_every: Duration,
    pub templates: Templates,
}

/// One of both, as everybody sees it who does not care whose it is.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    pub api: &'a Api,
    pub number: &'a str,
    pub access_token: &'a SecretString,
    pub webhook_secret: &'a SecretString,
    pub verification_token: Option<&'a SecretString>,
    pub delivery: Delivery,
    /// Of Kapso's.
    pub poll_every: Option<Duration>,
    pub templates: &'a Templates,
}

impl Config {
    /// The lines that the environment names.
    pub fn lines(&self) -> impl Iterator<Item = Named<'_>> {
        let (meta, kapso) = (&self.whatsapp, &self.kapso);
        let meta = Named {
            api: &meta.api,
            number: &meta.phone_number_id,
            access_token: &meta.access_token,
            webhook_secret: &meta.app_secret,
            verification_token: Some(&meta.verification_token),
            delivery: Delivery::Webhook,
            poll_every: None,
            templates: &meta.templates,
        };
        let kapso = Named {
            api: &kapso.api,
            number: &kapso.phone_number_id,
            access_token: &kapso.api_key,
            webhook_secret: &kapso.webhook_secret,
            verification_token: None,
            delivery: kapso.delivery,
            poll_every: Some(kapso.poll_every),
            templates: &kapso.templates,
        };
        let both = [meta, kapso].into_iter();
        both.filter(|line| !line.number.is_empty())
    }

    pub fn names(&self, provider: Provider, number: &str) -> bool {
        let mut lines = self.lines();
        lines.any(|line| line.api.provider == provider && line.number == number)
    }

    /// Where all lines of a provider have their API.
    pub fn api(&self, provider: Provider) -> &Api {
        match provider {
            Provider::Meta => &self.whatsapp.api,
            Provider::Kapso => &self.kapso.api,
        }
    }
}

/// Who sets one of a provider's settings wants its line; who sets none at all, Meta's.
pub(super) fn wanted(raw: &Raw) -> (bool, bool) {
    let any = |settings: &[&Option<String>]| {
        let mut texts = settings.iter().filter_map(|setting| setting.as_deref());
        texts.any(|text| !text.is_empty())
    };
    let kapso = any(&[
        &raw.kapso_phone_number_id,
        &raw.kapso_webhook_secret,
        &raw.kapso_api_key,
    ]);
    let meta = !kapso
        || any(&[
            &raw.whatsapp_sender_phone_number_id,
            &raw.whatsapp_app_secret,
            &raw.whatsapp_access_token,
        ]);
    (meta, kapso)
}

impl WhatsApp {
    pub(super) fn check(check: &mut Check<'_>, raw: &mut Raw, wanted: bool, roles: Roles) -> Self {
        let (web, worker) = (wanted && roles.web, wanted && roles.worker);
        Self {
            app_secret: check.secret("WHATSAPP_APP_SECRET", raw.whatsapp_app_secret.take(), web),
            verification_token: check.secret(
                "WHATSAPP_VERIFICATION_TOKEN",
                raw.whatsapp_verification_token.take(),
                web,
            ),
            access_token: check.secret(
                "WHATSAPP_ACCESS_TOKEN",
                raw.whatsapp_access_token.take(),
                worker,
            ),
            phone_number_id: check.text(
                "WHATSAPP_SENDER_PHONE_NUMBER_ID",
                raw.whatsapp_sender_phone_number_id.take(),
                web || worker,
            ),
            business_account_id: raw.whatsapp_business_account_id.take().unwrap_or_default(),
            api: Api {
                provider: Provider::Meta,
                base_url: check.url("WHATSAPP_API_BASE_URL", &raw.whatsapp_api_base_url),
                version: raw.whatsapp_api_version.clone(),
            },
            templates: check.templates("WHATSAPP_TEMPLATES", &raw.whatsapp_templates),
        }
    }
}

impl Kapso {
    pub(super) fn check(check: &mut Check<'_>, raw: &mut Raw, wanted: bool, roles: Roles) -> Self {
        let (web, worker) = (wanted && roles.web, wanted && roles.worker);
        let delivery = delivery(check, &raw.kapso_delivery);
        Self {
            webhook_secret: check.secret(
                "KAPSO_WEBHOOK_SECRET",
                raw.kapso_webhook_secret.take(),
                web && delivery == Delivery::Webhook,
            ),
            api_key: check.secret("KAPSO_API_KEY", raw.kapso_api_key.take(), worker),
            phone_number_id: check.text(
                "KAPSO_PHONE_NUMBER_ID",
                raw.kapso_phone_number_id.take(),
                web || worker,
            ),
            api: Api {
                provider: Provider::Kapso,
                base_url: check.url("KAPSO_API_BASE_URL", &raw.kapso_api_base_url),
                version: raw.whatsapp_api_version.clone(),
            },
            delivery,
            poll_every: poll_every(check, delivery, raw.kapso_poll_every.take()),
            templates: check.templates("KAPSO_TEMPLATES", &raw.kapso_templates),
        }
    }
}

fn delivery(check: &mut Check<'_>, value: &str) -> Delivery {
    let read = Delivery::from_str(value, false);
    read.unwrap_or_else(|_| {
        check.note("KAPSO_DELIVERY", "must be webhook or poll");
        Delivery::default()
    })
}

fn poll_every(check: &mut Check<'_>, delivery: Delivery, value: Option<String>) -> Duration {
    match (value.filter(|text| !text.is_empty()), delivery) {
        (Some(text), _) => check.duration_within(
            "KAPSO_POLL_EVERY",
            &text,
            POLL_AT_MOST_EVERY..=POLL_AT_LEAST_EVERY,
            "for Kapso counts a key's requests, 100 a minute on its free plan",
        ),
        (None, Delivery::Poll) => POLL_EVERY,
        (None, Delivery::Webhook) => POLL_BESIDE_A_WEBHOOK_EVERY,
    }
}
