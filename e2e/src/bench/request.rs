//! Row 9: how large the request to the model is that one line of a person becomes. It is paid for
//! at every call. The floor is what OpenClaw sends out of the box.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    bare::Bare,
    report::{Better, Budget, Figure, Of, say},
    stage,
};
use crate::{crowd::person, whatsapp::Message};

const LINE: &str = "hi";

pub async fn measure() -> anyhow::Result<Vec<Figure>> {
    let product = stage::whole(&[]).await?;
    let person = person(1);
    let message = Message::text(&person, LINE);
    let body = product.whatsapp.body(std::slice::from_ref(&message));
    let status = product.whatsapp.post(&body).await;
    anyhow::ensure!(status == Some(200), "the webhook was answered {status:?}");
    product.settled().await?;
    let requests = product.model.requests();
    let ours = requests.first().context("the model was not asked")?.bytes;
    say(&format!("  ours: {ours} bytes"));
    product.finish(&[]).await?;

    let bare = Bare::prepare().await?;
    bare.fill(out_of_the_box).await?;
    bare.boot().await?;
    let floor = bare.request_bytes(LINE).await?;
    say(&format!("  out of the box: {floor} bytes"));
    let budget = Budget {
        of: Of::Value,
        better: Better::Less,
        must: 30.0,
        aim: 16.0,
    };
    let (ours, floor) = (ours as f64 / 1000.0, floor / 1000.0);
    Ok(vec![Figure::new(
        "model_request",
        ours,
        "kB",
        Some(floor),
        budget,
    )])
}

/// Leaves only what it takes to be reached and to reach a model.
fn out_of_the_box(config: &mut Value) {
    let defaults = json!({
        "model": config["agents"]["defaults"]["model"],
        "workspace": config["agents"]["defaults"]["workspace"],
    });
    *config = json!({
        "gateway": config["gateway"],
        "secrets": config["secrets"],
        "models": config["models"],
        "agents": { "defaults": defaults },
        "discovery": config["discovery"],
        "update": config["update"],
        "telemetry": config["telemetry"],
    });
}
