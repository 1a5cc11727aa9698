//! One line as the checks see it: of the environment or added, with what this process may know of it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::{
    facts::Facts,
    finding::{Finding, Found, skip},
};
use crate::{
    config::{Config, Named},
    http::secrets,
    line::{
        Delivery, Line,
        stored::{self, Stored},
        template::Templates,
    },
    seal::Opener,
    whatsapp::{
        account::{Account, Token, Trouble},
        client,
        provider::{Api, Provider},
    },
};

pub struct Number {
    /// The provider's id of it.
    pub id: String,
    /// By command, and not by the environment.
    pub is_added: bool,
    pub api: Api,
    pub account: Account,
    /// Empty, as those below, where this process must not know it.
    pub access_token: SecretString,
    pub webhook_secret: SecretString,
    pub verification_token: SecretString,
    pub business_account_id: String,
    pub delivery: Delivery,
    pub poll_every: Option<Duration>,
    /// Those that the environment names for it.
    pub templates: Templates,
    token: OnceCell<Result<Token, Trouble>>,
}

impl Number {
    pub fn named(line: Named<'_>, config: &Config) -> anyhow::Result<Self> {
        let word = line.verification_token.cloned();
        let secrets = [line.access_token.clone(), line.webhook_secret.clone()];
        let mut number = Self::new(line.api, line.number, secrets, word)?;
        number.is_added = false;
        (number.delivery, number.poll_every) = (line.delivery, line.poll_every);
        number.templates = line.templates.clone();
        if number.provider() == Provider::Meta {
            number.business_account_id = config.whatsapp.business_account_id.clone();
        }
        Ok(number)
    }

    /// One that is to be added, or was. Its two secrets: what it sends with, and what its webhooks
    /// are signed with.
    pub fn new(
        api: &Api,
        id: &str,
        [access_token, webhook_secret]: [SecretString; 2],
        word: Option<SecretString>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            id: id.to_owned(),
            is_added: true,
            api: api.clone(),
            account: Account::new(client::http_builder().build()?, api.clone()),
            access_token,
            webhook_secret,
            verification_token: word.unwrap_or_default(),
            business_account_id: String::new(),
            delivery: Delivery::Webhook,
            poll_every: None,
            templates: Templates::default(),
            token: OnceCell::new(),
        })
    }

    /// What this process cannot open stays empty.
    pub fn stored(config: &Config, master: Option<&Opener>, line: &Stored) -> anyhow::Result<Self> {
        let api = config.api(line.provider);
        let opened = master.and_then(|opener| Line::open(opener, api, line).ok());
        let access_token = opened.map(|line| line.access_token).unwrap_or_default();
        let key = config.keys.webhook_key().map(Opener::with);
        let read = key.and_then(|key| secrets::open(&key, line).ok());
        let (secret, word) = read.unwrap_or_default();
        let number = Self::new(api, &line.phone_number_id, [access_token, secret], word)?;
        Ok(Self {
            delivery: line.delivery,
            ..number
        })
    }

    /// All there are. Without a database, those of the environment.
    pub async fn all(facts: &Facts) -> anyhow::Result<Vec<Self>> {
        let config = &facts.config;
        let mut all = Vec::new();
        for line in config.lines() {
            all.push(Self::named(line, config)?);
        }
        let Ok(db) = facts.try_db().await else {
            return Ok(all);
        };
        let opener = facts.master().map(Opener::new);
        for line in stored::all(db).await.unwrap_or_default() {
            if !line.removed && !config.names(line.provider, &line.phone_number_id) {
                all.push(Self::stored(config, opener.as_ref(), &line)?);
            }
        }
        Ok(all)
    }

    pub fn provider(&self) -> Provider {
        self.api.provider
    }

    pub fn knows_webhook_secret(&self) -> bool {
        !self.webhook_secret.expose_secret().is_empty()
    }

    pub async fn try_token(&self) -> Result<&Token, &Trouble> {
        let ask = async || self.account.token(&self.access_token).await;
        self.token.get_or_init(ask).await.as_ref()
    }

    /// For checks that need a token that works.
    pub async fn token(&self, facts: &Facts) -> Result<&Token, Found> {
        if facts.try_graph().await.is_err() {
            return Err(skip("WhatsApp's API is not reached."));
        }
        match self.try_token().await {
            Ok(token) if token.is_valid => Ok(token),
            _ => Err(skip("The access token is not taken.")),
        }
    }

    /// Where another secret goes, and how it comes to be used.
    pub fn put_into(&self, setting: &str, whose: &str) -> String {
        match self.is_added {
            true => format!(
                "give it to `clawkaka line add --provider {} --phone-number-id {}`",
                self.provider().as_str(),
                self.id
            ),
            false => format!("put it into {setting}, and restart {whose}"),
        }
    }

    /// Says of which line something was found, where that is not plain.
    pub fn about(&self, finding: Finding) -> Finding {
        let what = match self.is_added {
            true => format!("Line {}: {}", self.id, finding.what),
            false => finding.what,
        };
        Finding {
            what,
            line: Some(self.id.clone()),
            ..finding
        }
    }
}
