//! `clawkaka sandbox show`: one sandbox, from the tables and from Docker.

use anyhow::Context;
use bollard::{
    models::{ContainerMemoryStats, ContainerStatsResponse},
    query_parameters::StatsOptionsBuilder,
};
use chrono::{DateTime, Utc};
use clap::Args;
use futures_util::StreamExt;
use serde_json::json;
use uuid::Uuid;

use super::{
    engine::{Seen, State},
    find,
    look::Listed,
    stamped,
};
use crate::{
    app,
    operator::{
        answer::{Answer, pairs, when},
        settings::{self, Settings, WHERE_FROM},
    },
    sandbox::{
        call::{READ_TIMEOUT, bounded, found},
        docker::Docker,
        layout::Layout,
        runtime::{Container, Runtime},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka sandbox show 0198c0de-…"))]
pub struct Options {
    /// The sandbox's id or its person's.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What only a look at this one container tells.
#[derive(Default)]
struct Inside {
    /// The image it runs, or is to run when it wakes, by id.
    image: Option<String>,
    /// The image that new ones run, by id.
    wanted: Option<String>,
    memory: Option<Memory>,
}

/// Bytes.
struct Memory {
    used: u64,
    limit: Option<u64>,
}

pub async fn show(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    let one = find(&db, options.id).await?;
    let wanted = config.sandbox.image.clone();
    let looked = match settings::docker(&config).await {
        Ok(docker) => look(&docker, &one, &wanted)
            .await
            .map_err(|error| format!("{error:#}")),
        Err(refusal) => Err(refusal.what),
    };
    let (seen, inside, trouble) = match looked {
        Ok((seen, inside)) => (Some(seen), inside, None),
        Err(trouble) => (None, Inside::default(), Some(trouble)),
    };
    let seen = seen.as_ref();
    let state = State::of(&one, seen);
    let volume = app::layout(&config).name(one.id);
    let mut json = one.json(state, seen);
    let more = json!({
        "epoch": one.epoch,
        "transcript_read": one.has_cursor,
        "created_at": stamped(Some(one.created_at)),
        "booted_at": stamped(one.booted_at),
        "snapshot_at": stamped(one.snapshot_at),
        "gone_at": stamped(one.gone_at),
        "wake_at": stamped(one.wake_at),
        "pause_at": stamped(one.pause_at),
        "stop_at": stamped(one.stop_at),
        "volume": volume,
        "container_id": seen.and_then(|seen| seen.containers.get(&one.id)).map(|one| &one.id),
        "memory_bytes": inside.memory.as_ref().map(|memory| memory.used),
        "memory_limit_bytes": inside.memory.as_ref().and_then(|memory| memory.limit),
        "image_id": inside.image,
        "configured_image": (!wanted.is_empty()).then_some(&wanted),
        "configured_image_id": inside.wanted,
        "docker_trouble": trouble,
    });
    if let (Some(json), serde_json::Value::Object(more)) = (json.as_object_mut(), more) {
        json.extend(more);
    }
    let mut text = text(
        &one,
        state,
        seen,
        &app::layout(&config),
        &inside,
        &wanted,
        now,
    );
    if let Some(trouble) = trouble {
        text.push_str(&format!("The state is unknown: {trouble}\n"));
    }
    Ok(Answer::new(text, json))
}

fn text(
    one: &Listed,
    state: State,
    seen: Option<&Seen>,
    layout: &Layout,
    inside: &Inside,
    wanted: &str,
    now: DateTime<Utc>,
) -> String {
    let at = |at: Option<DateTime<Utc>>| at.map(|at| when(at, now));
    let failing = (one.failures > 0).then(|| match one.retry_at {
        Some(at) => format!("{} in a row, tried again {}", one.failures, when(at, now)),
        None => format!("{} in a row", one.failures),
    });
    let read = match one.has_cursor {
        true => "transcript read",
        false => "nothing read yet",
    };
    pairs(&[
        ("id", Some(one.id.to_string())),
        ("tenant", Some(one.whose())),
        ("state", Some(state.word().to_owned())),
        (
            "awake since",
            at(seen.and_then(|seen| seen.awake_since(one.id))),
        ),
        ("intent", Some(one.intent.clone())),
        ("turn", one.open_turn.then(|| "one is open".to_owned())),
        ("last active", at(one.last_active_at)),
        ("conversation", Some(format!("{}, {read}", one.session_no))),
        ("memory", inside.memory.as_ref().map(Memory::words)),
        ("image", Some(inside.words(wanted))),
        (
            "slot",
            Some(format!("{}, {}", one.slot, layout.address(one.slot))),
        ),
        ("epoch", Some(one.epoch.to_string())),
        ("volume", Some(layout.name(one.id))),
        ("failed starts", failing),
        ("woken", at(one.wake_at)),
        ("paused by order", at(one.pause_at)),
        ("stopped by order", at(one.stop_at)),
        ("last backup", at(one.snapshot_at)),
        ("first ready", at(one.booted_at)),
        ("made", at(Some(one.created_at))),
        ("gone", at(one.gone_at)),
    ])
}

impl Inside {
    fn words(&self, wanted: &str) -> String {
        let short = |id: &str| {
            id.trim_start_matches("sha256:")
                .chars()
                .take(12)
                .collect::<String>()
        };
        let name = match wanted {
            "" => "SANDBOX_IMAGE is not set here",
            name => name,
        };
        match (&self.image, &self.wanted) {
            (Some(image), Some(wanted)) if image == wanted => format!("{} ({name})", short(image)),
            (Some(image), Some(wanted)) => {
                format!("{}, outdated: {name} is {}", short(image), short(wanted))
            }
            (Some(image), None) => {
                format!("{} ({name}, which is not on this machine)", short(image))
            }
            (None, _) => name.to_owned(),
        }
    }
}

impl Memory {
    /// As `docker stats` counts it: without the cache of files that can be given back at once.
    fn of(stats: ContainerStatsResponse) -> Option<Self> {
        let ContainerMemoryStats {
            usage,
            stats,
            limit,
            ..
        } = stats.memory_stats?;
        let stats = stats.unwrap_or_default();
        let cache = ["inactive_file", "total_inactive_file"]
            .iter()
            .find_map(|name| stats.get(*name));
        Some(Self {
            used: usage?.saturating_sub(cache.copied().unwrap_or(0)),
            limit,
        })
    }

    fn words(&self) -> String {
        let mebibytes = |bytes: u64| bytes >> 20;
        match self.limit {
            Some(limit) => format!("{} of {} MiB", mebibytes(self.used), mebibytes(limit)),
            None => format!("{} MiB", mebibytes(self.used)),
        }
    }
}

async fn look(docker: &Docker, one: &Listed, wanted: &str) -> anyhow::Result<(Seen, Inside)> {
    let seen = Seen::ask(docker, wanted).await?;
    let mut inside = Inside {
        wanted: match wanted {
            "" => None,
            wanted => docker.image(wanted).await?,
        },
        image: one.image.clone(),
        ..Inside::default()
    };
    if let Some(container) = seen.containers.get(&one.id) {
        let call = found(docker.engine.inspect_container(&container.id, None));
        let inspected = bounded("inspect a container", READ_TIMEOUT, call).await?;
        inside.image = inspected.and_then(|found| found.image).or(inside.image);
        inside.memory = memory(docker, container).await?;
    }
    Ok((seen, inside))
}

/// None of a container that is not up.
async fn memory(docker: &Docker, container: &Container) -> anyhow::Result<Option<Memory>> {
    if container.started_at.is_empty() {
        return Ok(None);
    }
    let options = StatsOptionsBuilder::default()
        .stream(false)
        .one_shot(true)
        .build();
    let mut stats = docker.engine.stats(&container.id, Some(options)).boxed();
    let first = async { found(async { stats.next().await.transpose() }).await };
    let stats = bounded("measure a container", READ_TIMEOUT, first).await;
    let stats = stats.context("measure a container")?.flatten();
    Ok(stats.and_then(Memory::of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outdated_image_is_named_as_such() {
        let inside = |image: &str, wanted: Option<&str>| Inside {
            image: Some(image.to_owned()),
            wanted: wanted.map(str::to_owned),
            memory: None,
        };
        let words = |inside: Inside| inside.words("ours:2");
        assert_eq!(words(inside("sha256:aa", Some("sha256:aa"))), "aa (ours:2)");
        assert_eq!(
            words(inside("sha256:aa", Some("sha256:bb"))),
            "aa, outdated: ours:2 is bb"
        );
        assert!(words(inside("sha256:aa", None)).contains("not on this machine"));
        assert_eq!(words(Inside::default()), "ours:2");
    }
}
