//! `clawkaka tenant set-role`: what the operator calls a person's rights. Their agent is told with their next
//! message; what it makes of the word is in its own instructions.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{record, unknown};
use crate::{
    id::TenantId,
    line::policy,
    operator::{
        actor::Actor,
        answer::Answer,
        settings::{Settings, WHERE_FROM},
    },
    tenant::{self, role},
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Examples:
  clawkaka tenant set-role 0198c0de-… family
  clawkaka tenant set-role 0198c0de-… none     the default of their line again"))]
pub struct Options {
    /// As `clawkaka tenant list` shows it.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// A word of a-z, 0-9 and -; `none`: the default.
    #[arg(value_name = "ROLE", value_parser = wanted)]
    role: Wanted,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// `None`: the default.
#[derive(Clone)]
struct Wanted(Option<String>);

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        policy::NO_ROLE => Ok(Wanted(None)),
        text => policy::role(text).map(|role| Wanted(Some(role))),
    }
}

pub async fn run(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let id = TenantId(options.id);
    let wanted = options.role.0.as_deref();
    let mut tx = db.begin().await.context("begin to give a role")?;
    let known = tenant::find(&mut *tx, id).await?;
    known.ok_or_else(|| unknown(id))?;
    let changed = role::set(&mut *tx, id, wanted).await?;
    if changed {
        let detail = json!({ "role": wanted });
        record(&mut tx, options.actor, id, "set_role", detail, now).await?;
    }
    tx.commit().await.context("commit a role")?;
    let role = wanted.map_or("the default role".to_owned(), |role| {
        format!("the role {role}")
    });
    let text = match changed {
        true => format!("{id} has {role}; their agent is told with their next message."),
        false => format!("{id} had {role} already."),
    };
    let json = json!({ "tenant": id.0, "role": wanted, "changed": changed });
    Ok(Answer::new(text, json))
}
