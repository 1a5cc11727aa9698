//! `clawkaka nuke`: removes what the program made, wherever its Postgres is: sandboxes, their
//! memory, their network, then our tables. What up.sh and deploy.sh made is `infra/nuke.sh`'s.
//!
//! Docker first and the tables last, these in one transaction: wherever it ends too early, running
//! it again finds what is left.

mod tables;

use clap::Args;
use serde_json::{Value, json};

use super::{
    answer::{Answer, pairs},
    confirm::confirm,
    progress::Progress,
    settings::{self, Settings, WHERE_FROM},
};
use crate::{app, sandbox::all::All};
use tables::Database;

const EXAMPLES: &str = "Examples:
  clawkaka nuke                     says what there is and asks for the deployment's name
  clawkaka nuke --json              only says what there is
  CLAWKAKA_DEPLOYMENT=staging clawkaka nuke --yes

Removes the sandboxes' containers and volumes, with everything the agents remember, the deployment's
network, and the tables in the database that DATABASE_URL names: only ours. Stop `clawkaka serve`
first. It can be run again at any time. Processes, walls, settings and certificates of ./infra/up.sh
and ./infra/deploy.sh are removed by ./infra/nuke.sh.";

#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{WHERE_FROM}"))]
pub struct Options {
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    /// One JSON document. Without --yes nothing is removed.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What there is of a deployment.
struct Found {
    deployment: String,
    network: String,
    docker: All,
    database: Database,
}

pub async fn run(options: Options, problems: Vec<String>) -> anyhow::Result<Answer> {
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    let docker = settings::docker(&config).await?;
    let found = Found {
        deployment: config.deployment.clone(),
        network: docker.layout.bridge(),
        docker: All::find(&docker).await?,
        database: tables::look(&db).await?,
    };
    if options.json && !options.yes {
        return Ok(found.answer(found.text(), false));
    }
    tables::refuse_while_it_runs(&mut *db.acquire().await?, &found.database).await?;
    if found.docker.is_empty() && found.database.tables.is_empty() {
        let text = format!(
            "There is nothing that the program made for \"{}\".",
            config.deployment
        );
        return Ok(found.answer(text, false));
    }
    if !options.yes {
        confirm(found.text().trim_end(), &found.deployment)?;
    }
    let all = found.docker.containers.len() + found.docker.volumes.len();
    let mut progress = Progress::new();
    let tell = |gone| progress.say(&format!("{gone} of {all} containers and volumes are gone"));
    found.docker.remove(&docker, tell).await?;
    drop(progress);
    tables::drop_all(&db, &found.database).await?;
    let text = format!(
        "Removed: {}.\nNothing that the program made for \"{}\" is left.",
        found.words().join(", "),
        found.deployment
    );
    Ok(found.answer(text, true))
}

impl Found {
    /// Short: what goes.
    fn words(&self) -> Vec<String> {
        let count = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let network = self
            .docker
            .network
            .then(|| format!("network {}", self.network));
        [
            count(self.docker.containers.len(), "containers"),
            count(self.docker.volumes.len(), "volumes"),
            network,
            count(self.database.tables.len(), "tables"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn text(&self) -> String {
        let count = |count: usize| (count > 0).then(|| count.to_string());
        let volumes = count(self.docker.volumes.len());
        let tables = count(self.database.tables.len()).map(|tables| {
            let Database {
                people, messages, ..
            } = &self.database;
            format!("{tables}, with {people} people and {messages} messages")
        });
        let lines = pairs(&[
            ("  containers", count(self.docker.containers.len())),
            (
                "  volumes",
                volumes.map(|count| format!("{count}, with everything the agents remember")),
            ),
            (
                "  network",
                self.docker.network.then(|| self.network.clone()),
            ),
            ("  tables", tables),
        ]);
        match lines.is_empty() {
            true => format!(
                "There is nothing that the program made for \"{}\".",
                self.deployment
            ),
            false => format!(
                "This removes, for good, of the deployment \"{}\":\n{lines}",
                self.deployment
            ),
        }
    }

    fn answer(&self, text: String, removed: bool) -> Answer {
        let json: Value = json!({
            "deployment": self.deployment,
            "removed": removed,
            "containers": self.docker.containers.len(),
            "volumes": self.docker.volumes.len(),
            "network": self.docker.network.then_some(&self.network),
            "tables": self.database.tables,
            "people": self.database.people,
            "messages": self.database.messages,
        });
        Answer::new(text, json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            deployment: "staging".to_owned(),
            network: "ck-00000000".to_owned(),
            docker: All {
                containers: ["a".to_owned(), "b".to_owned()].into(),
                volumes: Vec::new(),
                network: true,
            },
            database: Database {
                tables: vec!["tenant".to_owned()],
                people: 3,
                messages: 40,
            },
        }
    }

    #[test]
    fn it_says_what_goes_before_it_goes() {
        let said = found().text();
        for part in [
            "\"staging\"",
            "containers  2",
            "ck-00000000",
            "3 people and 40 messages",
        ] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        assert!(!said.contains("volumes"), "there are none: {said}");
    }
}
