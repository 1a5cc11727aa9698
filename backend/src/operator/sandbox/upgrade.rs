//! `clawkaka sandbox upgrade`: asks the worker to move sandboxes to the current image, and shows how
//! far it is.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::{find, stamped};
use crate::{
    app,
    id::UpgradeId,
    lease,
    operator::{
        actor::Actor,
        answer::{Answer, Refusal},
        backup::place,
        confirm::confirm,
        event::{self, Event},
        progress::Progress,
        settings::{self, Settings, WHERE_FROM},
    },
    sandbox::{row::image, runtime::Runtime},
    upgrade::{
        self, State, Which, Wish,
        look::{self, Asked, One, Tally},
    },
};

const LOOK_EVERY: Duration = Duration::from_millis(300);

const HELP: &str = "Each sandbox keeps the image it was made with; SANDBOX_IMAGE is for new people, until this moves the
others to it. One after the other, while nobody uses it: its files are backed up, it gets a container of
the new image, and if its gateway does not let us in, it gets back image and files as they were. Whoever
writes meanwhile is answered afterwards. It goes on after a restart of the worker; asked for again
while one runs, that one is shown.

Examples:
  clawkaka sandbox upgrade --canary 3            only three of them
  clawkaka sandbox upgrade --all                 one first, then all
  clawkaka sandbox upgrade --all --canary 10 --max-failures 3
  clawkaka sandbox upgrade 0198c0de-…
  clawkaka sandbox upgrade --stop                ends it after the sandbox at hand

States of a sandbox: waiting, running (nothing is changed yet), replacing, rolling_back; done, rolled_back,
skipped (no need, or nobody there), failed (nothing was changed).";

#[derive(Args)]
#[command(after_help = format!("{HELP}\n\n{WHERE_FROM}"))]
pub struct Options {
    /// Only these: a sandbox's id or its person's.
    #[arg(value_name = "ID", conflicts_with_all = ["all", "canary", "stop"])]
    ids: Vec<Uuid>,
    /// All that run another image.
    #[arg(long, conflicts_with = "stop")]
    all: bool,
    /// So many first: when one of them does not become ready, it stops. Without --all no more than these; with it
    /// 1 unless said.
    #[arg(long, value_name = "N", conflicts_with = "stop")]
    canary: Option<u16>,
    /// Stops after so many that did not become ready.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    max_failures: u16,
    /// A gateway that has not let us in by then is not ready. A boot takes 5 s, and a minute on a busy machine.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    ready_within: Duration,
    /// Ends the upgrade under way after the sandbox at hand.
    #[arg(long)]
    stop: bool,
    /// Only asks; the worker does it meanwhile.
    #[arg(long)]
    no_wait: bool,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
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
    let (no_wait, as_json) = (options.no_wait, options.json);
    let (db, id) = match options.stop {
        true => stop(options, problems, now).await?,
        false => match ask(options, problems, now).await? {
            Ok(asked) => asked,
            Err(nothing) => return Ok(nothing),
        },
    };
    if no_wait {
        let text = format!("Asked for; the worker does it ({id}).");
        return Ok(Answer::new(text, json!({ "id": id.0 })));
    }
    follow(&db, id, as_json).await
}

async fn stop(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<(PgPool, UpgradeId)> {
    let db = options.settings.database(problems).await?;
    let mut tx = db.begin().await.context("stop an upgrade")?;
    let id = upgrade::ask_to_stop(&mut *tx).await?.ok_or(Refusal {
        code: "no-upgrade",
        what: "No upgrade is under way.".to_owned(),
        todo: "`clawkaka sandbox list` shows who runs which image.",
    })?;
    let event = Event {
        actor: &options.actor.name(),
        tenant: None,
        kind: "sandbox_upgrade_stop",
        detail: json!({ "upgrade": id.0 }),
    };
    event::record(&mut *tx, event, now).await?;
    tx.commit().await.context("stop an upgrade")?;
    Ok((db, id))
}

/// The upgrade that is under way from now on, or an answer that there is no need.
async fn ask(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Result<(PgPool, UpgradeId), Answer>> {
    let stored = place(&options.settings, problems.clone());
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    if let Some(run) = upgrade::running(&db).await? {
        return Ok(Ok((db, run.id)));
    }
    stored?;
    let reference = config.sandbox.image.clone();
    let current = settings::docker(&config).await?.image(&reference).await?;
    let current = current.ok_or_else(|| Refusal {
        code: "no-image",
        what: format!("The image {reference} is not on this machine."),
        todo: "Build it with infra/build-image.sh or pull it, or mend SANDBOX_IMAGE.",
    })?;
    let others = image::count_others(&db, &current).await?;
    let mut sandboxes = Vec::new();
    for id in &options.ids {
        sandboxes.push(find(&db, *id).await?.id);
    }
    let canary = options.canary.map(i32::from);
    let (which, canaries) = match (sandboxes.is_empty(), options.all, canary) {
        (false, ..) => (Which::These(sandboxes), 0),
        (true, true, canary) => (Which::All, canary.unwrap_or(1)),
        (true, false, Some(canary)) => (Which::Some(canary.into()), canary),
        (true, false, None) => return Err(unnamed(others).into()),
    };
    let count = match &which {
        Which::All => others,
        Which::Some(count) => others.min(*count),
        Which::These(ids) => ids.len() as i64,
    };
    if count > 1 && !options.yes {
        let question = format!(
            "{count} sandboxes are moved to {reference} ({}), one after the other, while nobody uses them.",
            short(&current)
        );
        confirm(&question, "yes")?;
    }
    let wish = Wish {
        image: current.clone(),
        reference: reference.clone(),
        which,
        canaries,
        max_failures: options.max_failures.into(),
        ready_within_seconds: options.ready_within.as_secs().clamp(1, 3_600) as i32,
        actor: options.actor.name(),
    };
    let mut tx = db.begin().await.context("ask for an upgrade")?;
    let Some(id) = upgrade::ask(&mut tx, &wish, now).await? else {
        tx.rollback().await.context("ask for an upgrade")?;
        // Somebody else has just asked, or nobody is left.
        return Ok(match upgrade::running(&db).await? {
            Some(run) => Ok((db, run.id)),
            None => Err(nothing_to_do(&reference, &current)),
        });
    };
    let event = Event {
        actor: &wish.actor,
        tenant: None,
        kind: "sandbox_upgrade",
        detail: json!({ "upgrade": id.0, "image": current, "reference": reference, "count": count }),
    };
    event::record(&mut *tx, event, now).await?;
    tx.commit().await.context("ask for an upgrade")?;
    Ok(Ok((db, id)))
}

fn unnamed(others: i64) -> Refusal {
    Refusal {
        code: "nothing-named",
        what: format!("{others} sandboxes run another image than the current one."),
        todo: "Say which to upgrade: their ids, --canary N, or --all.",
    }
}

fn nothing_to_do(reference: &str, image: &str) -> Answer {
    Answer::new(
        format!(
            "Nothing to do: they run {reference} ({}) already.",
            short(image)
        ),
        json!({ "id": null, "state": "done", "outcome": "current", "image": image, "reference": reference }),
    )
}

/// Until it is over. Whoever has had enough may interrupt it: the worker goes on.
async fn follow(db: &PgPool, id: UpgradeId, quiet: bool) -> anyhow::Result<Answer> {
    let mut progress = Progress::new();
    loop {
        let asked = look::asked(db, id).await?;
        let asked = asked.context("follow an upgrade: its row is gone")?;
        let tally = look::tally(db, id).await?;
        let notable = look::notable(db, id).await?;
        if asked.state != "running" {
            drop(progress);
            let others = image::count_others(db, &asked.image).await?;
            return Ok(answer(&asked, &tally, &notable, others));
        }
        if !quiet {
            match lease::live(db).await?.is_empty() {
                true => progress.say("no worker runs: it goes on when one does (clawkaka serve)"),
                false => progress.say(&line(&tally, &notable)),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn counts(tally: &Tally) -> String {
    let mut text = format!("{} of {} upgraded", tally.done, tally.all);
    for (count, word) in [
        (tally.rolled_back, "rolled back"),
        (tally.failed, "failed"),
        (tally.skipped, "skipped"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

/// What goes on now.
fn line(tally: &Tally, notable: &[One]) -> String {
    let begun = notable.iter().find(|one| {
        matches!(
            one.state,
            State::Running | State::Replacing | State::RollingBack
        )
    });
    let waiting = notable.iter().find(|one| one.state == State::Waiting);
    let now = match (begun, waiting) {
        (Some(one), _) => format!("; {} is {}", one.sandbox, words(one)),
        (None, Some(one)) => format!("; {} {}", one.sandbox, words(one)),
        (None, None) => String::new(),
    };
    format!("{}{now}", counts(tally))
}

fn words(one: &One) -> String {
    let state = one.state.as_str().replace('_', " ");
    match one.outcome.as_deref() {
        None => state,
        Some(why) => format!("{state}: {}", because(why)),
    }
}

/// In words for people; the words of the table are for scripts.
fn because(why: &str) -> &str {
    match why {
        "in_use" => "its person uses it",
        "no_place" => "people come first, and no place is free",
        "walls" => "the walls do not stand",
        "late" => "its gateway did not become ready in time",
        "refused" => "its gateway did not let us in",
        "ended" => "its container ended by itself",
        "not_started" => "its container could not be started",
        "kills_workers" => "the worker died over it again and again",
        "no_image" => "the image is not on the worker's machine",
        "no_store" => "the worker has no BACKUP_TO",
        "image_lost" => "its image is gone: it gets the current one when it next wakes",
        "suspended" => "its person is suspended",
        "gone" => "it was given up",
        "error" => "its files could not be stored: the worker's log says why",
        other => other,
    }
}

fn answer(asked: &Asked, tally: &Tally, notable: &[One], others: i64) -> Answer {
    let why = match (asked.state.as_str(), asked.outcome.as_deref()) {
        ("stopped", Some("canary")) => "Stopped: a canary did not become ready",
        ("stopped", Some("failures")) => "Stopped: too many did not become ready",
        ("stopped", _) => "Stopped as asked",
        _ => "Done",
    };
    let image = format!("{} ({})", asked.reference, short(&asked.image));
    let mut text = format!("{why}. {} to {image}.\n", counts(tally));
    for one in notable.iter().filter(|one| one.done_at.is_some()) {
        text.push_str(&format!("  {} {}\n", one.sandbox, words(one)));
    }
    if others > 0 {
        text.push_str(&format!("{others} sandboxes run another image: "));
        text.push_str(match tally.rolled_back + tally.failed {
            0 => "`clawkaka sandbox upgrade --all` moves them, too.\n",
            _ => "`clawkaka sandbox logs` of one may say what is wrong with the new one.\n",
        });
    }
    Answer {
        good: tally.rolled_back + tally.failed == 0,
        ..Answer::new(text, document(asked, tally, notable, others))
    }
}

fn document(asked: &Asked, tally: &Tally, notable: &[One], others: i64) -> Value {
    let sandboxes = notable.iter().map(|one| {
        json!({
            "sandbox": one.sandbox.0,
            "state": one.state.as_str(),
            "outcome": one.outcome,
            "started_at": stamped(one.started_at),
            "done_at": stamped(one.done_at),
        })
    });
    json!({
        "id": asked.id.0,
        "state": asked.state,
        "outcome": asked.outcome,
        "image": asked.image,
        "reference": asked.reference,
        "canaries": asked.canaries,
        "requested_at": stamped(Some(asked.requested_at)),
        "done_at": stamped(asked.done_at),
        "all": tally.all,
        "done": tally.done,
        "rolled_back": tally.rolled_back,
        "skipped": tally.skipped,
        "failed": tally.failed,
        "waiting": tally.waiting,
        "notable": sandboxes.collect::<Vec<_>>(),
        "others": others,
    })
}

/// An image's id, as Docker shortens it.
pub fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}
