//! Kapso: reached, takes our key, and knows our number.

use super::{
    facts::Facts,
    finding::{Found, fail, ok},
};
use crate::whatsapp::account::Trouble;

pub async fn number(facts: &Facts) -> Result<Found, Found> {
    let kapso = &facts.config.kapso;
    let number = &kapso.phone_number_id;
    let base = &kapso.api.base_url;
    Ok(match facts.kapso.number(number, &kapso.api_key).await {
        Ok(()) => ok(format!(
            "Kapso takes the key, which may use the number {number}."
        )),
        Err(Trouble::Refused {
            code: 190 | 401 | 403,
        }) => fail(
            "Kapso refuses the key.",
            "Copy a key of the project from Kapso's dashboard into KAPSO_API_KEY, and restart the worker.",
        ),
        Err(Trouble::Refused { code }) => fail(
            format!("Kapso does not show the number {number} to this key (code {code})."),
            "Compare KAPSO_PHONE_NUMBER_ID with the number's id in Kapso's dashboard; the key must be of the same project.",
        ),
        Err(trouble) => fail(
            format!("Kapso is not reached at {base}: {trouble}."),
            "Look at the machine's way out: DNS, firewall, proxy; or mend KAPSO_API_BASE_URL.",
        ),
    })
}
