//! Kapso: reached, takes our key, and knows our number.

use super::{
    finding::{Found, fail, ok},
    number::Number,
};
use crate::whatsapp::account::Trouble;

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
