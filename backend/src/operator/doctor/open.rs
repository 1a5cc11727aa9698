//! Whether a line is open, or has been stopped by what WhatsApp said.

use anyhow::Context;

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
    number::Number,
    work::unread,
};
use crate::{clock::Clock, operator::answer::ago, whatsapp::provider::Provider};

pub async fn line(facts: &Facts, number: &Number) -> Result<Found, Found> {
    let db = facts.db().await?;
    let row = sqlx::query!(
        r#"select case when blocked_until is not null
                  then least(blocked_until, timestamptz '9999-01-01Z') end as until, blocked_reason
           from line where provider = $1 and phone_number_id = $2"#,
        number.provider().as_str(),
        number.id,
    )
    .fetch_optional(db)
    .await
    .context("read the line");
    let Some(row) = row.map_err(unread)? else {
        return Err(skip(
            "The line is not stored yet: the first start does that.",
        ));
    };
    let now = Clock::System.now();
    let Some(until) = row.until.filter(|until| *until > now) else {
        return Ok(ok("The line is open."));
    };
    let code = row.blocked_reason.as_deref().unwrap_or("?");
    let setting = match number.provider() {
        Provider::Meta => "WHATSAPP_ACCESS_TOKEN",
        Provider::Kapso => "KAPSO_API_KEY",
    };
    Ok(match code {
        // The last is our word for a refusal without a code, as Kapso's is.
        "190" | "0" | "TokenRejected" => fail(
            format!("WhatsApp refused the access token (code {code}): messages wait."),
            format!(
                "Make a new one, and {}: that opens the line.",
                number.put_into(setting, "the worker")
            ),
        ),
        _ => warn(
            format!(
                "WhatsApp has stopped the line (code {code}), until {}.",
                ago(until, now)
            ),
            "If the code names the account, mend it in the dashboard; else wait.",
        ),
    })
}
