//! What several checks ask, asked once: the database, Docker, WhatsApp. When one of these is not
//! there, its own check says so, and those that need it are skipped.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::OnceCell;

use super::{
    Limits,
    finding::{Found, skip},
    number::Number,
};
use crate::{
    app,
    config::{Config, Keys},
    sandbox::docker::Docker,
    seal::MasterKey,
    whatsapp::{
        account::{Account, Trouble},
        client,
        provider::Provider,
    },
};

pub struct Facts {
    pub config: Config,
    pub limits: Limits,
    /// All lines, once they were looked for.
    pub numbers: Vec<Number>,
    /// For our own ports: nothing may come between.
    pub local: reqwest::Client,
    /// For the model: as the broker calls it.
    pub outside: reqwest::Client,
    db: OnceCell<Result<PgPool, String>>,
    docker: OnceCell<Result<Docker, String>>,
    info: OnceCell<Option<bollard::models::SystemInfo>>,
    graph: OnceCell<Result<Heard, Trouble>>,
}

/// Graph's clock, and ours before and after.
pub struct Heard {
    pub asked: DateTime<Utc>,
    pub said: Option<DateTime<Utc>>,
    pub answered: DateTime<Utc>,
}

impl Facts {
    pub fn new(config: Config, limits: Limits) -> anyhow::Result<Self> {
        let outside = client::http_builder().build()?;
        Ok(Self {
            numbers: Vec::new(),
            local: client::http_builder().no_proxy().build()?,
            outside,
            config,
            limits,
            db: OnceCell::new(),
            docker: OnceCell::new(),
            info: OnceCell::new(),
            graph: OnceCell::new(),
        })
    }

    /// The error has no password in it: sqlx names none.
    pub async fn try_db(&self) -> Result<&PgPool, &str> {
        let connect = async || {
            let connected = app::connect(&self.config.database_url).await;
            connected.map_err(|error| format!("{:#}", error.root_cause()))
        };
        self.db
            .get_or_init(connect)
            .await
            .as_ref()
            .map_err(String::as_str)
    }

    pub async fn db(&self) -> Result<&PgPool, Found> {
        self.try_db()
            .await
            .map_err(|_| skip("Postgres is not reached."))
    }

    pub async fn try_docker(&self) -> Result<&Docker, &str> {
        let connect = async || {
            let config = &self.config;
            let (layout, shape) = (app::layout(config), app::shape(config));
            let limit = app::limit(config);
            let connected =
                Docker::connect(&config.sandbox.docker_host, layout, shape, limit).await;
            connected.map_err(|error| format!("{error:#}"))
        };
        self.docker
            .get_or_init(connect)
            .await
            .as_ref()
            .map_err(String::as_str)
    }

    pub async fn docker(&self) -> Result<&Docker, Found> {
        self.try_docker()
            .await
            .map_err(|_| skip("Docker is not reached."))
    }

    /// What Docker says of itself.
    pub async fn info(&self) -> Result<&bollard::models::SystemInfo, Found> {
        let docker = self.docker().await?;
        let info = self
            .info
            .get_or_init(async || docker.engine.info().await.ok())
            .await;
        info.as_ref()
            .ok_or_else(|| skip("Docker does not say anything of itself."))
    }

    /// Of Meta's API or, without a line there, Kapso's.
    pub async fn try_graph(&self) -> Result<&Heard, &Trouble> {
        let ask = async || {
            let clock = crate::clock::Clock::System;
            let asked = clock.now();
            let mut providers = self.numbers.iter().map(Number::provider);
            let provider = match providers.any(|provider| provider == Provider::Meta) {
                true => Provider::Meta,
                false => Provider::Kapso,
            };
            let api = self.config.api(provider).clone();
            let said = Account::new(self.outside.clone(), api).clock().await?;
            Ok(Heard {
                asked,
                said,
                answered: clock.now(),
            })
        };
        self.graph.get_or_init(ask).await.as_ref()
    }

    /// What the worker last measured; nothing when it has not yet. An error in words when it is not
    /// reached.
    pub async fn gauge(&self, name: &str) -> Result<Option<String>, &'static str> {
        let url = format!("http://127.0.0.1:{}/metrics", self.config.ports.metrics);
        let answer = self.local.get(url).send().await;
        let answer = answer.map_err(|_| "The worker's metrics are not reached")?;
        let text = answer.text().await.unwrap_or_default();
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        Ok(text.lines().find_map(value))
    }

    pub fn master(&self) -> Option<&MasterKey> {
        match &self.config.keys {
            Keys::Master(key) => Some(key),
            _ => None,
        }
    }
}
