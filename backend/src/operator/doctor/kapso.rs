//! Kapso: reached, takes our key, knows our number, and is asked what people wrote.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    facts::Facts,
    finding::{Found, fail, ok, warn},
    number::Number,
    work::unread,
};
use crate::{
    clock::Clock,
    line::{Delivery, cursor},
    operator::answer::ago,
    whatsapp::account::Trouble,
};

/// As the alert KapsoNotPolled.
const NOT_POLLED: TimeDelta = TimeDelta::minutes(5);

pub async fn number(number: &Number) -> Result<Found, Found> {
    let (id, base) = (&number.id, &number.api.base_url);
    Ok(
        match number.account.number(id, &number.access_token).await {
            Ok(()) => ok(format!(
                "Kapso takes the key, which may use the number {id}."
            )),
            Err(Trouble::Refused {
                code: 190 | 401 | 403,
            }) => fail(
                "Kapso refuses the key.",
                format!(
                    "Copy a key of the project from Kapso's dashboard, and {}.",
                    number.put_into("KAPSO_API_KEY", "the worker")
                ),
            ),
            Err(Trouble::Refused { code }) => fail(
                format!("Kapso does not show the number {id} to this key (code {code})."),
                "Compare it with the number's id in Kapso's dashboard; the key must be of the same project.",
            ),
            Err(trouble) => fail(
                format!("Kapso is not reached at {base}: {trouble}."),
                "Look at the machine's way out: DNS, firewall, proxy; or mend KAPSO_API_BASE_URL.",
            ),
        },
    )
}

/// That it is polled, and when last.
pub async fn polling(facts: &Facts, number: &Number) -> Result<Found, Found> {
    let db = facts.db().await?;
    let last = cursor::polled_at(db, number.provider(), &number.id).await;
    Ok(judge_polling(
        number.delivery,
        number.poll_every,
        last.map_err(unread)?,
        Clock::System.now(),
    ))
}

pub(super) fn judge_polling(
    delivery: Delivery,
    every: Option<Duration>,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Found {
    let every = every.map_or(String::new(), |every| {
        format!(" every {}", humantime::format_duration(every))
    });
    let how = match delivery {
        Delivery::Poll => format!("The line is polled{every}; no webhook is needed"),
        Delivery::Webhook => format!("Beside the webhook the line is polled{every}"),
    };
    let todo = "Look at `kapso`; the worker's log says what Kapso answers.";
    match (last, delivery) {
        (Some(last), _) if last > now - NOT_POLLED => ok(format!("{how}.")),
        (Some(last), Delivery::Poll) => fail(
            format!(
                "{how}, but that last succeeded {}: nobody is heard.",
                ago(last, now)
            ),
            todo,
        ),
        (Some(last), Delivery::Webhook) => warn(
            format!(
                "{how}, but that last succeeded {}: what it misses is lost.",
                ago(last, now)
            ),
            todo,
        ),
        (None, _) => warn(
            "The line was not polled yet.",
            "The worker does it within seconds of learning of a line; its log says why not.",
        ),
    }
}
