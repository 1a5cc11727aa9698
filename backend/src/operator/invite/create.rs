//! `clawkaka invite create`: a code is drawn, shown once, and kept as a keyed hash.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::json;

use crate::{
    line::policy::{self, Signup},
    operator::{
        actor::Actor,
        answer::{Answer, no_master_key, stamp, when},
        doctor::{facts::Facts, number::Number},
        event::{self, Event},
        line::{db, facts, find},
        settings::{Settings, WHERE_FROM},
    },
    tenant::invite::{self, Codes, Wanted},
};

/// A year.
const MAX_VALID: Duration = Duration::from_secs(366 * 24 * 3600);
const MAX_USES: i64 = 100_000;

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "The code is shown now and never again. Who writes it, alone or within a message, in capitals or not, is let
in; the link opens WhatsApp with it already typed. It is needed where the line's signup is `invite`, and counts
where it is `open`, too, for its role.

Examples:
  clawkaka invite create
  clawkaka invite create --uses 30 --valid 14d --role guest --line 106540352242922"))]
pub struct Options {
    /// On which number it counts: its id, or the provider's; on all unless said.
    #[arg(long, value_name = "LINE")]
    line: Option<String>,
    /// How many people it lets in.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(i64).range(1..=MAX_USES))]
    uses: i64,
    /// For how long it counts, at most a year.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = valid)]
    valid: Duration,
    /// The role of whoever comes with it.
    #[arg(long, value_name = "ROLE", value_parser = policy::role)]
    role: Option<String>,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

fn valid(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).ok();
    let fits = read.filter(|time| !time.is_zero() && *time <= MAX_VALID);
    fits.ok_or_else(|| "must be a duration of up to a year, for example 12h or 7d".to_owned())
}

pub async fn run(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let facts = facts(options.settings, problems, false)?;
    let codes = Codes::new(facts.master().ok_or_else(no_master_key)?);
    let db = db(&facts).await?;
    let line = match &options.line {
        Some(text) => Some(find(db, text).await?),
        None => None,
    };
    let code = invite::draw()?;
    let valid_until = now + TimeDelta::from_std(options.valid)?;
    let wanted = Wanted {
        code: &code,
        line: line.as_ref().map(|line| line.id),
        role: options.role.as_deref(),
        uses: options.uses as i32,
        valid_until,
    };
    let mut tx = db.begin().await.context("begin to invite")?;
    let id = invite::create(&mut *tx, &codes, &wanted, now).await?;
    let event = Event {
        actor: &options.actor.name(),
        tenant: None,
        kind: "invite_create",
        detail: json!({ "invite": id.0, "line": wanted.line.map(|line| line.0), "uses": wanted.uses,
                        "role": wanted.role, "valid_until": stamp(valid_until) }),
    };
    event::record(&mut *tx, event, now).await?;
    tx.commit().await.context("commit an invitation")?;

    let number = line.as_ref().map(|line| line.phone_number_id.as_str());
    let (shown, link) = (invite::shown(&code), link(&facts, number, &code).await?);
    let people = match options.uses {
        1 => "one person".to_owned(),
        uses => format!("{uses} people"),
    };
    let mut text = format!(
        "{shown}\nlets in {people} until {}.\n",
        when(valid_until, now)
    );
    text.push_str(&match &link {
        Some(link) => format!("Link: {link}\n"),
        None => "For a link: https://wa.me/<the number, digits only>?text=<the code>\n".to_owned(),
    });
    let signup = match &line {
        Some(line) => policy::of(db, line.id, &facts.config.policy).await?.signup,
        None => facts.config.policy.signup,
    };
    text.push_str(match signup {
        Signup::Invite => "",
        Signup::Open => "Nobody needs it yet, for SIGNUP is open: clawkaka line set <LINE> --signup invite\n",
        Signup::Closed => "It lets nobody in as long as SIGNUP is closed: clawkaka line set <LINE> --signup invite\n",
    });
    text.push_str(&format!("Undo: clawkaka invite revoke {id}"));
    let json = json!({ "invite": id.0, "code": shown, "link": link, "uses": options.uses,
                       "valid_until": stamp(valid_until), "role": options.role });
    Ok(Answer::new(text, json))
}

/// `None` where it is not clear which number, or WhatsApp does not tell it: the code is good all the same.
async fn link(facts: &Facts, number: Option<&str>, code: &str) -> anyhow::Result<Option<String>> {
    let all = Number::all(facts).await?;
    let mut of_line = all
        .iter()
        .filter(|one| number.is_none_or(|number| one.id == number));
    let (Some(only), None) = (of_line.next(), of_line.next()) else {
        return Ok(None);
    };
    let asked = only.account.dialled(&only.id, &only.access_token).await;
    Ok(asked
        .ok()
        .flatten()
        .map(|digits| format!("https://wa.me/{digits}?text={}", invite::shown(code))))
}
