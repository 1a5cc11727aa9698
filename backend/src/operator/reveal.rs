//! The addresses of a list in clear, where an operator asks for them. Nobody is revealed without it being on
//! record.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::{
    actor::Actor,
    answer::no_master_key,
    event::{self, Event},
};
use crate::{config::Keys, seal::Opener};

pub struct Reveal<'a> {
    pub db: &'a PgPool,
    pub keys: &'a Keys,
    pub actor: Actor,
    /// What the record calls it.
    pub list: &'static str,
}

impl Reveal<'_> {
    /// In the order in which they come; `None` stays `None`.
    pub async fn all(
        self,
        sealed: impl Iterator<Item = Option<&[u8]>>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<Option<String>>> {
        let Keys::Master(master) = self.keys else {
            return Err(no_master_key().into());
        };
        let opener = Opener::new(master);
        let mut addresses = Vec::new();
        for sealed in sealed {
            let address = sealed.map(|sealed| opener.open(sealed)).transpose()?;
            addresses.push(address.map(String::from_utf8).transpose()?);
        }
        let event = Event {
            actor: &self.actor.name(),
            tenant: None,
            kind: "reveal",
            detail: json!({ "list": self.list, "addresses": addresses.len() }),
        };
        event::record(self.db, event, now).await?;
        Ok(addresses)
    }
}
