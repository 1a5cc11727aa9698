//! Which WhatsApp it is: whose, with which number and secrets, and how patient.

use std::time::Duration;

/// Who stands between WhatsApp and the product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Through {
    /// Nobody else.
    #[default]
    Meta,
    /// With webhooks of its own shape; the API is Meta's, below another path and with another key.
    Kapso,
}

impl Through {
    /// Where the product takes webhooks.
    pub fn webhook_path(self) -> &'static str {
        match self {
            Self::Meta => "/whatsapp/webhook",
            Self::Kapso => "/kapso/webhook",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub through: Through,
    /// 0 takes a free one.
    pub port: u16,
    pub webhook_url: String,
    pub app_secret: String,
    pub access_token: String,
    pub phone_number_id: String,
    pub display_phone_number: String,
    pub business_account_id: String,
    /// How long a webhook may take before the attempt counts as failed.
    pub webhook_timeout: Duration,
    /// How long a webhook that is not answered with 200 is posted again.
    pub retry_for: Duration,
    /// How long "typing…" shows without a message.
    pub typing_lasts: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            through: Through::Meta,
            port: 0,
            webhook_url: "http://127.0.0.1:3001/whatsapp/webhook".to_owned(),
            app_secret: "simulated-app-secret".to_owned(),
            access_token: "simulated-access-token".to_owned(),
            phone_number_id: "106540352242922".to_owned(),
            display_phone_number: "15550783881".to_owned(),
            business_account_id: "102290129340398".to_owned(),
            webhook_timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(300),
            typing_lasts: Duration::from_secs(25),
        }
    }
}
