//! Waits for what the worker was asked to do about backups, and shows how far it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::super::{answer::stamp, progress::Progress};
use crate::{
    backup::row::{
        State,
        look::{self, Asked, Parts},
    },
    id::BackupId,
    lease,
};

const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Something that was asked for, as it stands.
pub struct Followed {
    pub asked: Asked,
    pub parts: Parts,
}

impl Followed {
    pub fn good(&self) -> bool {
        self.asked.state == State::Done && self.parts.failed == 0
    }

    pub fn json(&self) -> Value {
        let Self { asked, parts } = self;
        let at = |at: Option<DateTime<Utc>>| at.map(stamp);
        json!({
            "id": asked.id.0,
            "kind": asked.kind.as_str(),
            "state": asked.state.as_str(),
            "outcome": asked.outcome,
            "sandbox": asked.sandbox.map(|id| id.0),
            "object": asked.object,
            "requested_at": stamp(asked.requested_at),
            "started_at": at(asked.started_at),
            "done_at": at(asked.done_at),
            "files": asked.entries,
            "bytes": asked.bytes,
            "stored_bytes": asked.stored_bytes,
            "parts": { "all": parts.all, "over": parts.over, "failed": parts.failed },
        })
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let Self { asked, parts } = self;
        let outcome = asked.outcome.as_deref().unwrap_or("-");
        let took = asked.started_at.zip(asked.done_at);
        let took = took.map_or(String::new(), |(from, to)| {
            format!(" in {:.1} s", (to - from).as_seconds_f64())
        });
        let of = match parts.all {
            0 => String::new(),
            all => format!(
                ", {} of {all} sandboxes, {} failed",
                parts.over, parts.failed
            ),
        };
        format!(
            "{} {}: {outcome}{of}; {} files, {} read, {} stored{took}",
            asked.kind.as_str(),
            asked.state.as_str(),
            asked.entries,
            size(asked.bytes),
            size(asked.stored_bytes)
        )
    }
}

/// For people.
pub fn size(bytes: i64) -> String {
    match bytes as f64 {
        bytes if bytes < 1e3 => format!("{bytes} bytes"),
        bytes if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

pub async fn now(db: &PgPool, id: BackupId) -> anyhow::Result<Option<Followed>> {
    let Some(asked) = look::asked(db, id).await? else {
        return Ok(None);
    };
    let parts = look::parts(db, id).await?;
    Ok(Some(Followed { asked, parts }))
}

/// Until it is over. Whoever has had enough may interrupt it: the worker goes on.
pub async fn follow(db: &PgPool, id: BackupId, quiet: bool) -> anyhow::Result<Option<Followed>> {
    let mut progress = Progress::new();
    loop {
        let Some(followed) = now(db, id).await? else {
            return Ok(None);
        };
        if followed.asked.state.is_over() {
            return Ok(Some(followed));
        }
        if !quiet {
            match lease::live(db).await?.is_empty() {
                true => progress.say("no worker runs: it begins when one does (clawkaka serve)"),
                false => progress.say(&followed.line()),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
