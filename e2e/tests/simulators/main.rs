//! The simulators are checked themselves, by a product that only listens and by plain HTTP calls.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod control;
mod lists;
mod model;
mod product;
mod sending;
mod webhooks;

use std::time::Duration;

use e2e::{Simulators, model as model_simulator, whatsapp};

use product::Product;

/// Nothing here takes long; whatever takes this long hangs.
const SOON: Duration = Duration::from_secs(10);

async fn start(product: &Product) -> Simulators {
    let whatsapp = whatsapp::Settings {
        webhook_url: product.url.clone(),
        ..whatsapp::Settings::default()
    };
    Simulators::start(whatsapp, model_simulator::Settings::default())
        .await
        .unwrap()
}
