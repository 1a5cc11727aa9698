//! `clawkaka line show`: one number, and what holds on it.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::{db, facts, find, list};
use crate::{
    config::{Config, Named},
    line::{
        policy::{self, Own, Policy},
        stored::Listed,
        template::Templates,
    },
    operator::{
        answer::{Answer, pairs},
        settings::{Settings, WHERE_FROM},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka line show 106540352242922"))]
pub struct Options {
    /// Its id, or the provider's phone number id.
    #[arg(value_name = "LINE")]
    line: String,
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
    let facts = facts(options.settings, problems, false)?;
    let db = db(&facts).await?;
    let line = find(db, &options.line).await?;
    let own = policy::own(db, line.id).await?;
    let environment = &facts.config.policy;
    let mut text = pairs(&[
        ("number", Some(line.phone_number_id.clone())),
        ("id", Some(line.id.to_string())),
        ("provider", Some(line.provider.as_str().to_owned())),
        ("from", Some(list::source(&line, &facts.config).to_owned())),
        ("people", Some(line.people.to_string())),
        ("state", Some(list::state(&line, now))),
    ]);
    text.push('\n');
    let named = templates(&facts.config, &line);
    text.push_str(&of_policy(environment, &named, &own));
    let mut json = list::json(&line, &facts.config, now);
    json["policy"] = policy_json(environment, &named, &own);
    Ok(Answer::new(text, json))
}

/// Those that the environment names for this line.
pub fn templates(config: &Config, line: &Listed) -> Templates {
    let is_it = |one: &Named<'_>| {
        (one.api.provider, one.number) == (line.provider, line.phone_number_id.as_str())
    };
    let named = config.lines().find(is_it);
    named.map(|one| one.templates.clone()).unwrap_or_default()
}

/// What holds, and whose word it is.
pub fn of_policy(environment: &Policy, named: &Templates, own: &Own) -> String {
    let all = environment.with(own.clone());
    let from = |is_own: bool| match is_own {
        true => "set for this line",
        false => "environment",
    };
    let said = |value: Option<&str>, is_own: bool| {
        Some(format!("{} ({})", value.unwrap_or("-"), from(is_own)))
    };
    let url = all.policy_url.as_ref().map(|url| url.as_str());
    let templates = own.templates_or(named).to_string();
    let groups = all.groups.to_string();
    pairs(&[
        (
            "signup",
            said(Some(all.signup.as_str()), own.signup.is_some()),
        ),
        (
            "notice",
            said(Some(all.notice.as_str()), own.notice.is_some()),
        ),
        (
            "notice operator",
            said(all.operator.as_deref(), own.notice_operator.is_some()),
        ),
        (
            "notice policy URL",
            said(url, own.notice_policy_url.is_some()),
        ),
        (
            "consent",
            said(Some(all.consent.as_str()), own.consent.is_some()),
        ),
        (
            "default role",
            said(all.default_role.as_deref(), own.default_role.is_some()),
        ),
        (
            "templates",
            said(
                Some(templates.as_str()).filter(|all| !all.is_empty()),
                own.templates.is_some(),
            ),
        ),
        (
            "groups",
            said(
                Some(groups.as_str()).filter(|all| !all.is_empty()),
                own.groups.is_some(),
            ),
        ),
        (
            "group prefix",
            said(Some(&all.group_prefix), own.group_prefix.is_some()),
        ),
    ])
}

pub fn policy_json(environment: &Policy, named: &Templates, own: &Own) -> Value {
    let all = environment.with(own.clone());
    json!({
        "signup": all.signup,
        "notice": all.notice,
        "notice_operator": all.operator,
        "notice_policy_url": all.policy_url,
        "consent": all.consent,
        "default_role": all.default_role,
        "templates": own.templates_or(named),
        "groups": all.groups,
        "group_prefix": all.group_prefix,
        "set_for_this_line": own,
    })
}
