//! The settings of `serve`, read by every command and kept out of each one's short help.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};
use secrecy::SecretString;
use sqlx::PgPool;

use super::answer::Refusal;
use crate::{
    app,
    config::{self, Config, Raw},
    sandbox::docker::Docker,
};

/// What stands below every command's help.
pub const WHERE_FROM: &str =
    "Settings are those of `clawkaka serve`: from the environment, or from files as NAME_FILE.";

pub struct Settings(pub Box<Raw>);

impl Settings {
    /// For commands that need nothing but the tables.
    pub async fn database(&mut self, problems: Vec<String>) -> anyhow::Result<PgPool> {
        let url = config::database_url(
            Raw {
                database_url: self.0.database_url.take(),
                ..Raw::default()
            },
            problems,
        )?;
        connect(&url).await
    }

    /// For commands that look at the tables and at Docker. No secret but the database's is needed.
    pub fn config(self, problems: Vec<String>) -> anyhow::Result<Config> {
        Config::without_roles(*self.0, problems)
    }
}

async fn connect(url: &SecretString) -> anyhow::Result<PgPool> {
    app::connect(url).await
}

/// This deployment's Docker.
pub async fn docker(config: &Config) -> Result<Docker, Refusal> {
    let host = &config.sandbox.docker_host;
    let (layout, shape) = (app::layout(config), app::shape(config));
    let connected = Docker::connect(host, layout, shape, app::limit(config)).await;
    connected.map_err(|error| no_docker(host, &error))
}

fn no_docker(host: &str, error: &anyhow::Error) -> Refusal {
    Refusal {
        code: "docker-unreachable",
        what: format!("Docker is not reached at {host}: {error:#}."),
        todo: "Start it (`systemctl start docker`), run this as root, or mend DOCKER_HOST.",
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let named: Vec<Id> = Raw::augment_args(Command::new("settings"))
            .get_arguments()
            .map(|argument| argument.get_id().clone())
            .collect();
        // `serve --help` is their manual.
        let (about, long_about) = (
            command.get_about().cloned(),
            command.get_long_about().cloned(),
        );
        let mut command = Raw::augment_args(command);
        if let Some(about) = about {
            command = command.about(about);
        }
        if let Some(long_about) = long_about {
            command = command.long_about(long_about);
        }
        named.into_iter().fold(command, |command, name| {
            command.mut_arg(name, |argument| argument.hide(true))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Raw::from_arg_matches(matches).map(|raw| Self(Box::new(raw)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
