//! One message to a sandbox that is not ready for it, and when its agent had it.

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use crate::{Person, Product, crowd::mark, whatsapp::Message};

/// A message and its answer.
pub struct Asked {
    pub written: DateTime<Utc>,
    /// Seconds until the gateway had accepted the question.
    pub accepted: f64,
}

/// Writes, and waits until it is answered and nothing is left to do.
pub async fn ask(product: &Product, person: &Person, name: &str) -> anyhow::Result<Asked> {
    let mark = mark(name);
    let message = Message::text(person, &format!("Please note {mark}"));
    let body = product.whatsapp.body(std::slice::from_ref(&message));
    let written = Utc::now();
    let status = product.whatsapp.post(&body).await;
    anyhow::ensure!(status == Some(200), "the webhook was answered {status:?}");
    product.answered(person, &mark).await?;
    product.settled().await?;
    let microseconds: i64 = sqlx::query_scalar(
        "select (extract(epoch from submitted_at) * 1000000)::bigint
         from turn join inbox on inbox.turn_id = turn.id where provider_id = $1",
    )
    .bind(&message.wamid)
    .fetch_one(&product.postgres.db)
    .await
    .context("find when a question was accepted")?;
    let accepted = DateTime::from_timestamp_micros(microseconds).context("read a time")?;
    Ok(Asked {
        written,
        accepted: (accepted - written).as_seconds_f64(),
    })
}

/// Waits until the one sandbox there is is paused.
pub async fn until_paused(product: &Product) -> anyhow::Result<()> {
    let paused = || async {
        let all = product.docker.sandboxes().await?;
        Ok(matches!(&all[..], [only] if only.state == "paused"))
    };
    product
        .until("one sandbox is left and paused", paused)
        .await
}

/// Waits until no sandbox has a container.
pub async fn until_stopped(product: &Product) -> anyhow::Result<()> {
    let gone = || async { Ok(product.docker.sandboxes().await?.is_empty()) };
    product.until("every sandbox is stopped", gone).await
}
