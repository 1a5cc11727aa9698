//! One more number beside the product's own: a simulator of its own, with secrets of its own.

use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{
    Gates, Product, Whatsapp,
    whatsapp::{self, Through},
};

/// Dropping it stops its simulator.
pub struct Line {
    pub whatsapp: Whatsapp,
    pub number: String,
    pub key: String,
    _stop: DropGuard,
}

impl Product {
    /// A running product that knows where Kapso is, and has no number there yet.
    pub async fn start_beside_kapso() -> anyhow::Result<(Self, Line)> {
        let stop = CancellationToken::new();
        let (number, key) = ("209911223344556".to_owned(), secret());
        let settings = whatsapp::Settings {
            through: Through::Kapso,
            access_token: key.clone(),
            phone_number_id: number.clone(),
            display_phone_number: "15550799001".to_owned(),
            ..whatsapp::Settings::default()
        };
        let whatsapp = Whatsapp::start(settings, Gates::default(), stop.clone()).await?;
        let line = Line {
            whatsapp,
            number,
            key,
            _stop: stop.drop_guard(),
        };
        let api = line.whatsapp.url();
        let mut product = Self::prepare(&[("KAPSO_API_BASE_URL", &api)]).await?;
        product
            .secrets
            .push(("the other line's key", line.key.clone()));
        Ok((product.up().await?, line))
    }

    /// Where our web takes Kapso's webhooks.
    pub fn kapso_webhook(&self) -> String {
        self.webhook_of(Through::Kapso)
    }

    pub fn webhook_of(&self, through: Through) -> String {
        let path = through.webhook_path();
        format!("http://127.0.0.1:{}{path}", self.place.port)
    }
}

fn secret() -> String {
    Uuid::new_v4().simple().to_string()
}
