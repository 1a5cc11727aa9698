//! `clawkaka-sim`: the simulators as a process of their own, steered over HTTP.
//!
//! Prints one line of JSON with its addresses once everything listens, and runs until it is told
//! to stop. It never needs the network beyond loopback.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use e2e::{Simulators, model, whatsapp};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const MANUAL: &str = include_str!("clawkaka-sim.txt");

/// A WhatsApp and a model to run Clawkaka against, without an account anywhere.
///
/// Three servers on loopback: the Graph API that the product sends through, an OpenAI-compatible
/// model for its broker, and the control API that scripts use to be a person, to see what that
/// person sees, and to make things fail. The control API's address opened in a browser is a page
/// on which anybody chats with the product as on a phone. Without secrets of your own, the product's settings are
/// simulated-app-secret, simulated-access-token and simulated-model-key.
#[derive(Parser)]
#[command(version, after_long_help = MANUAL)]
struct Options {
    /// Port of the Graph API: WHATSAPP_API_BASE_URL is http://127.0.0.1:PORT; 0 takes a free one
    #[arg(long, default_value_t = 3101, value_name = "PORT")]
    whatsapp_port: u16,

    /// Port of the model: LLM_BASE_URL is http://127.0.0.1:PORT/v1
    #[arg(long, default_value_t = 3102, value_name = "PORT")]
    model_port: u16,

    /// Port of the control API
    #[arg(long, default_value_t = 3103, value_name = "PORT")]
    control_port: u16,

    /// Where webhooks are posted
    #[arg(
        long,
        default_value = "http://127.0.0.1:3001/whatsapp/webhook",
        value_name = "URL"
    )]
    webhook_url: String,

    /// Signs webhooks: WHATSAPP_APP_SECRET
    #[arg(long, value_name = "SECRET", conflicts_with = "app_secret_file")]
    app_secret: Option<String>,

    /// The same secret, read from a file
    #[arg(long, value_name = "FILE")]
    app_secret_file: Option<PathBuf>,

    /// What calls must carry: WHATSAPP_ACCESS_TOKEN
    #[arg(long, value_name = "TOKEN", conflicts_with = "access_token_file")]
    access_token: Option<String>,

    /// The same token, read from a file
    #[arg(long, value_name = "FILE")]
    access_token_file: Option<PathBuf>,

    /// The product's number: WHATSAPP_SENDER_PHONE_NUMBER_ID
    #[arg(long, value_name = "ID")]
    phone_number_id: Option<String>,

    /// What requests to the model must carry: LLM_API_KEY
    #[arg(long, value_name = "KEY", conflicts_with = "model_key_file")]
    model_key: Option<String>,

    /// The same key, read from a file
    #[arg(long, value_name = "FILE")]
    model_key_file: Option<PathBuf>,

    /// The real model that the product asks instead of this one; the page says so
    #[arg(long, value_name = "NAME")]
    real_model: Option<String>,

    /// For how many seconds a webhook that is not answered with 200 is posted again
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    retry_for: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let options = Options::parse();
    // Before anybody is told that we run, so that a stop is never missed.
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;

    let control_port = options.control_port;
    let (whatsapp, model) = options.settings()?;
    let simulators = Simulators::start(whatsapp, model).await?;
    let control = simulators.start_control(control_port).await?;
    let addresses = json!({
        "whatsapp": simulators.whatsapp.url(),
        "model": simulators.model.url(),
        "control": control,
        "phone_number_id": simulators.whatsapp.settings().phone_number_id,
    });
    writeln!(io::stdout(), "{addresses}").context("print the addresses")?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

impl Options {
    fn settings(self) -> anyhow::Result<(whatsapp::Settings, model::Settings)> {
        let usual = whatsapp::Settings::default();
        let whatsapp = whatsapp::Settings {
            port: self.whatsapp_port,
            webhook_url: self.webhook_url,
            app_secret: secret(self.app_secret, self.app_secret_file, usual.app_secret)?,
            access_token: secret(
                self.access_token,
                self.access_token_file,
                usual.access_token,
            )?,
            phone_number_id: self.phone_number_id.unwrap_or(usual.phone_number_id),
            retry_for: Duration::from_secs(self.retry_for),
            ..whatsapp::Settings::default()
        };
        let usual = model::Settings::default();
        let model = model::Settings {
            port: self.model_port,
            key: secret(self.model_key, self.model_key_file, usual.key)?,
            real: self.real_model,
        };
        Ok((whatsapp, model))
    }
}

fn secret(value: Option<String>, file: Option<PathBuf>, usual: String) -> anyhow::Result<String> {
    match (value, file) {
        (Some(value), _) => Ok(value),
        (None, Some(file)) => read(&file),
        (None, None) => Ok(usual),
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Options::command().debug_assert();
    }
}
