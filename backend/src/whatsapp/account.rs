//! What Meta knows of us: the token, the number, the app's subscriptions. Reads only.
//!
//! Called by the operator's `doctor` and hourly by `worker/token`; nothing that carries messages
//! depends on it. Promises that no
//! error carries a token or an address with one in it (Meta docs: Graph API, debug_token; WhatsApp
//! Business Account, subscribed_apps and phone_numbers; Application, subscriptions).

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::event::digits;
use super::provider::{Api, Provider};

/// Meta answers these in well under a second.
const TIMEOUT: Duration = Duration::from_secs(8);
/// What Meta calls the object that WhatsApp's webhooks are about.
const OBJECT: &str = "whatsapp_business_account";

pub struct Account {
    http: reqwest::Client,
    api: Api,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No answer, or none that Graph gives.
    #[error("{0}")]
    Unreachable(String),
    /// Graph's own refusal.
    #[error("WhatsApp refuses with code {code}")]
    Refused { code: i64 },
}

/// What a token may do, and until when.
#[derive(Clone, Debug)]
pub struct Token {
    pub app_id: String,
    pub is_valid: bool,
    /// `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    pub scopes: Vec<String>,
    /// The business accounts it was granted; none are named when it was granted all.
    pub business_accounts: Vec<String>,
}

/// What became of a template in one language.
#[derive(Clone, Debug)]
pub struct Approval {
    pub name: String,
    pub language: String,
    /// `APPROVED`, or why it cannot be sent: `PENDING`, `REJECTED`, `PAUSED`, `DISABLED`.
    pub status: String,
    /// They would have to be filled in.
    pub has_variables: bool,
}

/// Where an app gets WhatsApp's webhooks, and which.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub active: bool,
    pub fields: Vec<String>,
}

impl Account {
    /// `http` comes from `client::http_builder`.
    pub fn new(http: reqwest::Client, api: Api) -> Self {
        Self { http, api }
    }

    /// Whether Graph answers at all, and what its clock says, to the second.
    pub async fn clock(&self) -> Result<Option<DateTime<Utc>>, Trouble> {
        let request = self.http.get(self.api.base_url.clone());
        let answer = request.timeout(TIMEOUT).send().await.map_err(unreachable)?;
        let date = answer.headers().get(reqwest::header::DATE);
        let date = date.and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        Ok(date.map(|date| date.with_timezone(&Utc)))
    }

    pub async fn token(&self, token: &SecretString) -> Result<Token, Trouble> {
        let query = [("input_token", token.expose_secret())];
        let answer = self.get(&["debug_token"], &query, token).await?;
        let data = &answer["data"];
        let moment = |name: &str| data[name].as_i64().filter(|seconds| *seconds > 0);
        // Whichever ends first; 0 and nothing both mean never.
        let ends = ["expires_at", "data_access_expires_at"];
        let end = ends.into_iter().filter_map(moment).min();
        let granular = data["granular_scopes"].as_array().into_iter().flatten();
        let mut business_accounts: Vec<_> = granular
            .filter(|scope| {
                let name = scope["scope"].as_str().unwrap_or_default();
                name.starts_with("whatsapp_business_")
            })
            .flat_map(|scope| texts(&scope["target_ids"]))
            .collect();
        business_accounts.sort();
        business_accounts.dedup();
        Ok(Token {
            app_id: text(&data["app_id"]).unwrap_or_default(),
            is_valid: data["is_valid"] == true,
            expires_at: end.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            scopes: texts(&data["scopes"]),
            business_accounts,
        })
    }

    /// Whether the token may see the number.
    pub async fn number(&self, id: &str, token: &SecretString) -> Result<(), Trouble> {
        self.get(&[id], &[("fields", "id")], token).await.map(drop)
    }

    /// The number as people dial it, in digits with the country's code; `None` where it is not told.
    pub async fn dialled(&self, id: &str, token: &SecretString) -> Result<Option<String>, Trouble> {
        let query = [("fields", "display_phone_number")];
        let answer = self.get(&[id], &query, token).await?;
        Ok(text(&answer["display_phone_number"]).and_then(digits))
    }

    /// The numbers of a business account, by their ids.
    pub async fn numbers(
        &self,
        business_account: &str,
        token: &SecretString,
    ) -> Result<Vec<String>, Trouble> {
        let query = [("fields", "id"), ("limit", "100")];
        let answer = self
            .get(&[business_account, "phone_numbers"], &query, token)
            .await?;
        let data = answer["data"].as_array().into_iter().flatten();
        Ok(data.filter_map(|number| text(&number["id"])).collect())
    }

    /// The business account that a number is in, as Kapso knows it (Kapso docs: Platform API, phone numbers).
    pub async fn business_account(
        &self,
        number: &str,
        key: &SecretString,
    ) -> Result<Option<String>, Trouble> {
        let unusable = || Trouble::Unreachable("its address takes no path".to_owned());
        let url = self.api.platform_url(&["phone_numbers", number]);
        let request = self.http.get(url.ok_or_else(unusable)?);
        let answer = ask(self.api.provider, self.api.authorize(request, key)).await?;
        Ok(text(&answer["data"]["business_account_id"]))
    }

    /// What Meta says of the templates with this name, one for each language (Meta docs: message templates).
    pub async fn templates(
        &self,
        business_account: &str,
        name: &str,
        token: &SecretString,
    ) -> Result<Vec<Approval>, Trouble> {
        let fields = ("fields", "name,language,status,components");
        let query = [fields, ("name", name), ("limit", "100")];
        let path = [business_account, "message_templates"];
        let answer = self.get(&path, &query, token).await?;
        let data = answer["data"].as_array().into_iter().flatten();
        // Meta finds longer names, too.
        let same = data.filter(|one| one["name"] == name);
        let read = same.map(|one| Approval {
            name: name.to_owned(),
            language: text(&one["language"]).unwrap_or_default(),
            status: text(&one["status"]).unwrap_or_default(),
            // A variable is written so in whatever part it stands.
            has_variables: one["components"].to_string().contains("{{"),
        });
        Ok(read.collect())
    }

    /// The apps that get the webhooks of a business account.
    pub async fn subscribed_apps(
        &self,
        business_account: &str,
        token: &SecretString,
    ) -> Result<Vec<String>, Trouble> {
        let answer = self
            .get(&[business_account, "subscribed_apps"], &[], token)
            .await?;
        let data = answer["data"].as_array().into_iter().flatten();
        let ids = data.filter_map(|app| text(&app["whatsapp_business_api_data"]["id"]));
        Ok(ids.collect())
    }

    /// What the app itself subscribed to. Answered to nobody but the app: by its id and secret.
    pub async fn subscription(
        &self,
        app_id: &str,
        app_secret: &SecretString,
    ) -> Result<Option<Subscription>, Trouble> {
        let token = SecretString::from(format!("{app_id}|{}", app_secret.expose_secret()));
        let answer = self.get(&[app_id, "subscriptions"], &[], &token).await?;
        let data = answer["data"].as_array().into_iter().flatten();
        let ours = data.into_iter().find(|one| one["object"] == OBJECT);
        Ok(ours.map(|one| {
            let fields = one["fields"].as_array().into_iter().flatten();
            Subscription {
                active: one["active"] == true,
                // Older versions list names, newer ones objects with a name and a version.
                fields: fields
                    .filter_map(|field| text(&field["name"]).or_else(|| text(field)))
                    .collect(),
            }
        }))
    }

    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        token: &SecretString,
    ) -> Result<Value, Trouble> {
        let unusable = || Trouble::Unreachable("its address takes no path".to_owned());
        let mut url = self.api.url(path).ok_or_else(unusable)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.api.authorize(self.http.get(url), token);
        ask(self.api.provider, request).await
    }
}

/// Sends it once, and tells what was answered apart from a refusal.
pub(super) async fn ask(
    provider: Provider,
    request: reqwest::RequestBuilder,
) -> Result<Value, Trouble> {
    let answer = request.timeout(TIMEOUT).send().await.map_err(unreachable)?;
    let status = answer.status();
    let body: Option<Value> = answer.json().await.ok();
    let code = body
        .as_ref()
        .and_then(|body| body["error"]["code"].as_i64());
    match (body, code) {
        (_, Some(code)) => Err(Trouble::Refused { code }),
        (Some(body), None) if status.is_success() => Ok(body),
        // Kapso refuses by itself what Meta never gets to see.
        _ if provider == Provider::Kapso && status.is_client_error() => Err(Trouble::Refused {
            code: status.as_u16().into(),
        }),
        _ => Err(Trouble::Unreachable(format!(
            "what answers there is not WhatsApp (status {})",
            status.as_u16()
        ))),
    }
}

/// Without the address: there may be a token in it.
fn unreachable(error: reqwest::Error) -> Trouble {
    let why = match &error {
        error if error.is_timeout() => "it did not answer in time",
        error if error.is_connect() => "no connection could be made",
        _ => "the connection broke",
    };
    Trouble::Unreachable(why.to_owned())
}

/// Ids are strings in some answers and numbers in others.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .collect()
}
