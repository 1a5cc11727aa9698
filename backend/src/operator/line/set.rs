//! `clawkaka line set`: who may write to one number, what they are told first, which role they get, and which
//! groups are served. What is not set here is as the environment says.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use url::Url;

use super::{db, facts, find, show};
use crate::{
    line::{
        group::{self, Groups},
        policy::{self, Consent, Notice, Own, Signup},
        stored,
        template::Template,
    },
    operator::{
        actor::Actor,
        answer::{Answer, Refusal},
        event::{self, Event},
        settings::{Settings, WHERE_FROM},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "It counts from the next message of somebody new on; whoever is there already goes on. Agents are told
of a changed default role, and of changed templates, with the next message of their person.

Examples:
  clawkaka line set 106540352242922 --signup invite --notice-operator 'Example Ltd'
  clawkaka line set 106540352242922 --template en_US=assistant_waiting --template de=assistent_wartet
  clawkaka line set 106540352242922 --groups 120363041234567890@g.us --group-prefix @bot
  clawkaka line set 106540352242922 --reset        all of it as the environment says"))]
pub struct Options {
    /// Its id, or the provider's phone number id.
    #[arg(value_name = "LINE")]
    line: String,
    /// Who may write: everybody, only who has a code (`clawkaka invite create`), or nobody new.
    #[arg(long, value_name = "WHO")]
    signup: Option<Signup>,
    /// Whether new people are told first that this is an AI, who runs it, and how to leave.
    #[arg(long, value_name = "on | off")]
    notice: Option<Notice>,
    /// Who runs it.
    #[arg(long, value_name = "NAME", value_parser = policy::operator)]
    notice_operator: Option<String>,
    /// Where it says what becomes of what people write.
    #[arg(long, value_name = "URL", value_parser = policy::policy_url)]
    notice_policy_url: Option<Url>,
    /// Whether new people have to agree first, by a tap on a button.
    #[arg(long, value_name = "none | button")]
    consent: Option<Consent>,
    /// The role of whoever was given no other.
    #[arg(long, value_name = "ROLE", value_parser = policy::role)]
    default_role: Option<String>,
    /// What goes out to somebody who has not written for a day, by its name at Meta, once for each language;
    /// further ones of a language are for agents to ask for.
    #[arg(long = "template", value_name = "LANGUAGE=NAME")]
    templates: Vec<Template>,
    /// The groups in which an agent takes part, with commas between, in place of those before; none: in no group.
    /// `clawkaka line groups` shows which write.
    #[arg(long, value_name = "IDS")]
    groups: Option<Groups>,
    /// What a message in a group begins with that is for the agent.
    #[arg(long, value_name = "WORD", value_parser = group::prefix)]
    group_prefix: Option<String>,
    /// Forgets first what was set for this line.
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let wanted = Own {
        signup: options.signup,
        notice: options.notice,
        notice_operator: options.notice_operator,
        notice_policy_url: options.notice_policy_url,
        consent: options.consent,
        default_role: options.default_role,
        templates: (!options.templates.is_empty()).then(|| options.templates.into_iter().collect()),
        groups: options.groups,
        group_prefix: options.group_prefix,
    };
    if wanted == Own::default() && !options.reset {
        return Err(nothing().into());
    }
    let facts = facts(options.settings, problems, false)?;
    let db = db(&facts).await?;
    let line = find(db, &options.line).await?;
    let environment = &facts.config.policy;
    let mut tx = db.begin().await.context("begin to set a line")?;
    // One operator at a time, for what is not named stays.
    stored::change(&mut tx).await?;
    let before = match options.reset {
        // Also one that nobody can read.
        true => policy::own(&mut *tx, line.id).await.unwrap_or_default(),
        false => policy::own(&mut *tx, line.id).await?,
    };
    let after = match options.reset {
        true => wanted,
        false => before.clone().and(wanted),
    };
    policy::set(&mut *tx, line.id, &after).await?;
    let changed = before != after;
    if changed || options.reset {
        let event = Event {
            actor: &options.actor.name(),
            tenant: None,
            kind: "line_set",
            detail: json!({ "line": line.id.0, "policy": after }),
        };
        event::record(&mut *tx, event, now).await?;
    }
    tx.commit().await.context("commit what a line is set to")?;
    let named = show::templates(&facts.config, &line);
    let mut text = show::of_policy(environment, &named, &after);
    let role_of = |own: &Own| environment.with(own.clone()).default_role;
    let templates_changed = before.templates_or(&named) != after.templates_or(&named);
    if role_of(&before) != role_of(&after) || templates_changed {
        text.push_str("Agents are told with the next message of their person.\n");
    }
    let json = json!({ "line": line.id.0, "phone_number_id": line.phone_number_id,
                       "changed": changed, "policy": show::policy_json(environment, &named, &after) });
    Ok(Answer::new(text, json))
}

fn nothing() -> Refusal {
    Refusal {
        code: "nothing-to-set",
        what: "Nothing was said that is to be set.".to_owned(),
        todo: "`clawkaka line set --help` lists what can be; `clawkaka line show` says what is.",
    }
}
