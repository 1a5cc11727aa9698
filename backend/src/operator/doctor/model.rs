//! The model's endpoint: reached, takes our key, has our model. Costs no token.

use secrecy::ExposeSecret;
use serde_json::Value;

use super::{
    facts::Facts,
    finding::{Found, fail, ok, warn},
};

/// Its list of models is open to everybody, so that only this shows whether a key is good.
const OPENROUTER: &str = "openrouter.ai";

pub async fn model(facts: &Facts) -> Result<Found, Found> {
    let llm = &facts.config.llm;
    if llm.base_url.host_str() == Some(OPENROUTER) {
        get(facts, "key").await?;
    }
    let Some(list) = get(facts, "models").await? else {
        return Ok(warn(
            "The model's endpoint answers, but lists no models.",
            "Nothing, if answers come; else look whether LLM_BASE_URL is OpenAI-compatible.",
        ));
    };
    let data = list["data"].as_array().into_iter().flatten();
    let mut names = data.filter_map(|model| model["id"].as_str());
    Ok(match names.any(|name| name == llm.model) {
        true => ok(format!("The endpoint takes the key and has {}.", llm.model)),
        false => warn(
            format!(
                "The endpoint takes the key, but does not list {}.",
                llm.model
            ),
            "Compare LLM_MODEL with the endpoint's list of models.",
        ),
    })
}

/// `None` when there is nothing at this path.
async fn get(facts: &Facts, path: &str) -> Result<Option<Value>, Found> {
    let llm = &facts.config.llm;
    let url = format!("{}/{path}", llm.base_url.as_str().trim_end_matches('/'));
    let request = facts
        .outside
        .get(url)
        .bearer_auth(llm.api_key.expose_secret());
    let Ok(answer) = request.send().await else {
        return Err(fail(
            format!("The model's endpoint is not reached at {}.", llm.base_url),
            "Look at the machine's way out: DNS, firewall, proxy; or mend LLM_BASE_URL.",
        ));
    };
    match answer.status().as_u16() {
        200 => Ok(answer.json().await.ok()),
        401 | 403 => Err(fail(
            "The model's endpoint refuses the key.",
            "Put a good key into LLM_API_KEY and restart the broker.",
        )),
        402 => Err(fail(
            "The model's endpoint wants to be paid first.",
            "Pay into the account of LLM_API_KEY.",
        )),
        404 | 405 => Ok(None),
        status => Err(fail(
            format!("The model's endpoint answers with {status}."),
            "Look at the provider's status page.",
        )),
    }
}
