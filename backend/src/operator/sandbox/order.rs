//! `clawkaka sandbox wake|pause|stop`: one order, written down for the worker, and what came of it.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{find, follow::follow, look::Listed};
use crate::{
    app,
    config::Config,
    lease,
    operator::{
        actor::Actor,
        answer::{Answer, Refusal},
        event::{self, Event},
        settings::{self, Settings, WHERE_FROM},
    },
    sandbox::row::order::{self, Order},
    tenant::{self, Status},
};

const HELP: &str = "Examples:
  clawkaka sandbox stop 0198c0de-…             frees its RAM now
  clawkaka sandbox wake 0198c0de-… --no-wait

None of these loses anything. The worker acts within seconds, after a turn that is open has ended.
The latest counts: the next message of its person, a reminder or `wake` wakes a sandbox that was
paused or stopped. To keep somebody out there is `clawkaka tenant suspend`.";

#[derive(Args)]
#[command(after_help = format!("{HELP}\n\n{WHERE_FROM}"))]
pub struct Options {
    /// The sandbox's id or its person's.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Does not wait until Docker shows it.
    #[arg(long)]
    no_wait: bool,
    /// A reason, for the record; no names, no content.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// How far an order was followed.
enum Outcome {
    Reached {
        state: &'static str,
        seconds: f64,
    },
    /// Not yet, when we stopped looking.
    Late {
        state: &'static str,
    },
    /// It was not looked at, and why.
    NotFollowed(String),
}

pub async fn give(
    what: Order,
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    let one = find(&db, options.id).await?;
    let detail = json!({ "sandbox": one.id.0, "why": options.why });
    write_down(&db, &one, what, &options.actor.name(), detail, now).await?;
    let outcome = match options.no_wait {
        true => Outcome::NotFollowed("it acts within seconds".to_owned()),
        false => outcome(&db, &config, &one, what).await?,
    };
    Ok(answer(&one, what, &outcome))
}

async fn write_down(
    db: &PgPool,
    one: &Listed,
    what: Order,
    actor: &str,
    detail: serde_json::Value,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let mut tx = db.begin().await.context("begin an order")?;
    if let Some(id) = one.tenant {
        let tenant = tenant::find(&mut *tx, id).await?;
        if tenant.is_some_and(|tenant| tenant.status == Status::Suspended) {
            return Err(Refusal {
                code: "tenant-suspended",
                what: format!("{id} is suspended, and their sandbox stopped for as long."),
                todo: "`clawkaka tenant resume` lets them in again.",
            }
            .into());
        }
    }
    if !order::give(&mut *tx, one.id, what, now).await? {
        return Err(Refusal {
            code: "sandbox-gone",
            what: format!("{} is given up for good.", one.id),
            todo: "Its person gets another one with their next message.",
        }
        .into());
    }
    let event = Event {
        actor,
        tenant: one.tenant,
        kind: word(what),
        detail,
    };
    event::record(&mut *tx, event, now).await?;
    tx.commit().await.context("commit an order")
}

async fn outcome(
    db: &PgPool,
    config: &Config,
    one: &Listed,
    what: Order,
) -> anyhow::Result<Outcome> {
    if lease::live(db).await?.is_empty() {
        let why = "no worker is alive; one acts when it is started";
        return Ok(Outcome::NotFollowed(why.to_owned()));
    }
    let followed = match settings::docker(config).await {
        Ok(docker) => follow(&docker, one.id, what)
            .await
            .map_err(|error| format!("{error:#}")),
        Err(refusal) => Err(refusal.what),
    };
    Ok(match followed {
        Err(trouble) => Outcome::NotFollowed(format!("what comes of it is not seen: {trouble}")),
        Ok(followed) => match followed.took {
            Some(took) => Outcome::Reached {
                state: followed.state,
                seconds: took.as_secs_f64(),
            },
            None => Outcome::Late {
                state: followed.state,
            },
        },
    })
}

/// What took too long for no reason that we know is no success.
fn answer(one: &Listed, what: Order, outcome: &Outcome) -> Answer {
    let id = one.id;
    let waits = match one.open_turn {
        true => "\nA turn was open: it is ended first.",
        false => "",
    };
    let back = match what {
        Order::Wake => "",
        Order::Pause | Order::Stop => {
            "\nThe next message of its person, a reminder or `clawkaka sandbox wake` wakes it."
        }
    };
    let text = match outcome {
        Outcome::Reached { state, seconds } => {
            format!("{id} is {state}, after {seconds:.1} s.{back}")
        }
        Outcome::Late { state } if one.open_turn => {
            format!("{id} is still {state}; the order stays.{waits}{back}")
        }
        Outcome::Late { state } => format!(
            "{id} is still {state}; the order stays.\n\
             `clawkaka doctor` and `clawkaka sandbox show {id}` may say why."
        ),
        Outcome::NotFollowed(why) => {
            format!("{id} is to {}: {why}.{waits}{back}", word(what))
        }
    };
    let (state, seconds) = match outcome {
        Outcome::Reached { state, seconds } => (Some(state), Some(seconds)),
        Outcome::Late { state } => (Some(state), None),
        Outcome::NotFollowed(_) => (None, None),
    };
    let json = json!({
        "sandbox": id.0,
        "tenant": one.tenant.map(|tenant| tenant.0),
        "order": word(what),
        "open_turn": one.open_turn,
        "state": state,
        "reached": match outcome {
            Outcome::Reached { .. } => Some(true),
            Outcome::Late { .. } => Some(false),
            Outcome::NotFollowed(_) => None,
        },
        "seconds": seconds,
    });
    Answer {
        good: one.open_turn || !matches!(outcome, Outcome::Late { .. }),
        ..Answer::new(text, json)
    }
}

fn word(what: Order) -> &'static str {
    match what {
        Order::Wake => "wake",
        Order::Pause => "pause",
        Order::Stop => "stop",
    }
}
