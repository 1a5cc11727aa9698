//! Who hands us WhatsApp's messages and takes ours: Meta itself, or Kapso in between.
//!
//! All that differs on the wire is here and in `kapso`: whose webhook it is, where the API stands and
//! how it is asked. Everything behind sees one shape. An enum, for there are two and each must be
//! thought of wherever they differ.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{kapso, meta, update::Update};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Provider {
    Meta,
    Kapso,
}

impl Provider {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Kapso => "kapso",
        }
    }

    /// Where it posts its webhooks.
    pub fn webhook_path(self) -> &'static str {
        match self {
            Self::Meta => "/whatsapp/webhook",
            Self::Kapso => "/kapso/webhook",
        }
    }

    /// Whose webhooks these are.
    pub fn at(path: &str) -> Option<Self> {
        let both = [Self::Meta, Self::Kapso];
        both.into_iter().find(|one| one.webhook_path() == path)
    }

    pub fn signature_header(self) -> &'static str {
        match self {
            Self::Meta => "x-hub-signature-256",
            Self::Kapso => "x-webhook-signature",
        }
    }

    /// Cuts an authentic body; `event` is what Kapso's header names.
    pub fn cut(self, event: Option<&str>, body: &[u8]) -> Vec<Update> {
        match self {
            Self::Meta => meta::cut(body),
            Self::Kapso => kapso::cut(event, body),
        }
    }
}

/// Where a line's API stands.
#[derive(Clone, Debug)]
pub struct Api {
    pub provider: Provider,
    /// `https://graph.facebook.com`, `https://api.kapso.ai`, or a simulator.
    pub base_url: Url,
    /// `v24.0`.
    pub version: String,
}

impl Api {
    /// The address of something below the API's version. `None` when the base takes no path.
    pub fn url(&self, path: &[&str]) -> Option<Url> {
        let mut url = self.base_url.clone();
        let mut segments = url.path_segments_mut().ok()?;
        segments.pop_if_empty();
        if self.provider == Provider::Kapso {
            // Meta's paths and bodies, one to one (Kapso docs: WhatsApp API proxy).
            segments.extend(["meta", "whatsapp"]);
        }
        segments.push(&self.version).extend(path);
        drop(segments);
        Some(url)
    }

    /// The address of something in Kapso's own API, beside Meta's that it hands through (Kapso docs:
    /// Platform API).
    pub fn platform_url(&self, path: &[&str]) -> Option<Url> {
        let mut url = self.base_url.clone();
        let mut segments = url.path_segments_mut().ok()?;
        segments.pop_if_empty();
        segments.extend(["platform", "v1", "whatsapp"]).extend(path);
        drop(segments);
        Some(url)
    }

    pub fn authorize(
        &self,
        request: reqwest::RequestBuilder,
        token: &SecretString,
    ) -> reqwest::RequestBuilder {
        match self.provider {
            Provider::Meta => request.bearer_auth(token.expose_secret()),
            Provider::Kapso => request.header("X-API-Key", token.expose_secret()),
        }
    }
}
