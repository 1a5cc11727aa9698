//! `clawkaka line groups`: the groups that wrote to a number which does not serve them, for whoever wants to
//! have one served.
//!
//! Whoever can write to a number can add it to a group; so this lists what strangers made, and says of a group
//! only what WhatsApp calls it.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{db, facts, find};
use crate::{
    line::{policy, unserved},
    operator::{
        answer::{Answer, ago, no_master_key, stamp, table},
        settings::{Settings, WHERE_FROM},
    },
    seal::Opener,
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "To find the one you mean, write something in it, and look which is first.

Examples:
  clawkaka line groups 106540352242922
  clawkaka line set 106540352242922 --groups 120363041234567890@g.us"))]
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
    let opener = Opener::new(facts.master().ok_or_else(no_master_key)?);
    let db = db(&facts).await?;
    let line = find(db, &options.line).await?;
    let policy = policy::of(db, line.id, &facts.config.policy).await?;
    let (mut rows, mut groups) = (Vec::new(), Vec::new());
    for one in unserved::list(db, line.id).await? {
        let id = String::from_utf8(opener.open(&one.address)?)?;
        // It was not when it last wrote.
        if policy.groups.serves(&id) {
            continue;
        }
        rows.push(vec![id.clone(), ago(one.last_at, now)]);
        groups.push(json!({ "group": id, "last_at": stamp(one.last_at) }));
    }
    let text = match rows.is_empty() {
        true => "No group has written lately that is not served.".to_owned(),
        false => table(&["GROUP", "LAST WROTE"], &rows),
    };
    let json = json!({ "line": line.id.0, "phone_number_id": line.phone_number_id,
                       "groups": groups, "served": policy.groups });
    Ok(Answer::new(text, json))
}
