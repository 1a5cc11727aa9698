//! What Docker says of every sandbox's life, as it happens and afterwards: nothing between two
//! looks is missed, as it would be by asking from time to time.

use std::{
    collections::{HashMap, HashSet},
    process::Stdio,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::watch,
};

use crate::docker::{DEPLOYMENT_LABEL, SANDBOX_LABEL};

/// Docker thaws a paused container in order to stop it, and says both.
const THAWED_TO_STOP: TimeDelta = TimeDelta::seconds(1);

/// What happened to a sandbox's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Started,
    Paused,
    Thawed,
    /// Told to end.
    Leaving,
    Ended,
}

/// How a sandbox is found by a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Awake,
    Paused,
    /// Takes no memory, or is about to.
    Stopped,
    /// It has never been started.
    New,
}

/// Every sandbox's life so far.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By sandbox, in order.
    changes: HashMap<String, Vec<(DateTime<Utc>, Change)>>,
    /// Containers that run or are paused.
    awake: HashSet<String>,
    pub most_awake: usize,
}

/// What there was of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pauses: usize,
    pub woken_from_pause: usize,
    pub woken_from_stop: usize,
    pub booted_new: usize,
}

impl History {
    /// Notes one event of Docker; what is none of ours is left out.
    fn note(&mut self, event: &Value) {
        let change = match event["Action"].as_str() {
            Some("start") => Change::Started,
            Some("pause") => Change::Paused,
            Some("unpause") => Change::Thawed,
            Some("kill") => Change::Leaving,
            Some("die") => Change::Ended,
            _ => return,
        };
        let actor = &event["Actor"];
        let sandbox = actor["Attributes"][SANDBOX_LABEL].as_str();
        let at = event["timeNano"].as_i64();
        let (Some(sandbox), Some(container), Some(at)) = (sandbox, actor["ID"].as_str(), at) else {
            return;
        };
        match change {
            Change::Started => {
                self.awake.insert(container.to_owned());
            }
            Change::Ended => {
                self.awake.remove(container);
            }
            _ => {}
        }
        self.most_awake = self.most_awake.max(self.awake.len());
        let at = DateTime::from_timestamp_nanos(at);
        let changes = self.changes.entry(sandbox.to_owned()).or_default();
        match (changes.last(), change) {
            (Some((thawed, Change::Thawed)), Change::Leaving | Change::Ended)
                if at < *thawed + THAWED_TO_STOP =>
            {
                changes.pop();
            }
            (Some((_, Change::Leaving)), Change::Thawed) => return,
            _ => {}
        }
        changes.push((at, change));
    }

    pub fn awake(&self) -> usize {
        self.awake.len()
    }

    pub fn paused(&self) -> usize {
        let last = |changes: &&Vec<_>| matches!(changes.last(), Some((_, Change::Paused)));
        self.changes.values().filter(last).count()
    }

    pub fn now(&self, sandbox: &str) -> State {
        self.at(sandbox, DateTime::<Utc>::MAX_UTC)
    }

    pub fn at(&self, sandbox: &str, moment: DateTime<Utc>) -> State {
        let changes = self.changes.get(sandbox).into_iter().flatten();
        match changes.take_while(|(at, _)| *at <= moment).last() {
            None => State::New,
            Some((_, Change::Started | Change::Thawed)) => State::Awake,
            Some((_, Change::Paused)) => State::Paused,
            Some((_, Change::Leaving | Change::Ended)) => State::Stopped,
        }
    }

    /// When sandboxes were told to end.
    pub fn stops(&self) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        self.changes.iter().flat_map(|(sandbox, changes)| {
            let stops = changes.iter().filter(|(_, one)| *one == Change::Leaving);
            stops.map(|(at, _)| (sandbox.as_str(), *at))
        })
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for changes in self.changes.values() {
            let of = |wanted| changes.iter().filter(|(_, one)| *one == wanted).count();
            counts.pauses += of(Change::Paused);
            counts.woken_from_pause += of(Change::Thawed);
            counts.booted_new += of(Change::Started).min(1);
            counts.woken_from_stop += of(Change::Started).saturating_sub(1);
        }
        counts
    }
}

/// Follows a deployment's sandboxes for as long as it lives.
pub struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    pub history: watch::Sender<History>,
    _events: Child,
}

impl Watch {
    /// From now on.
    pub fn begin(deployment: &str) -> anyhow::Result<Self> {
        let filters = [
            "type=container".to_owned(),
            format!("label={DEPLOYMENT_LABEL}={deployment}"),
            format!("label={SANDBOX_LABEL}"),
        ];
        let mut events = Command::new("docker")
            .args(["events", "--format", "{{json .}}", "--since"])
            .arg(Utc::now().timestamp().to_string())
            .args(filters.iter().flat_map(|filter| ["--filter", filter]))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("listen to Docker's events")?;
        let output = events.stdout.take().context("read Docker's events")?;
        Ok(Self {
            lines: BufReader::new(output).lines(),
            history: watch::Sender::default(),
            _events: events,
        })
    }

    /// Ends only when Docker does.
    pub async fn follow(&mut self) -> anyhow::Result<()> {
        loop {
            let line = self.lines.next_line().await?;
            let line = line.context("Docker's events ended")?;
            let event = serde_json::from_str(&line).context("read an event of Docker")?;
            self.history.send_modify(|history| history.note(&event));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history(events: &[(&str, &str, i64)]) -> History {
        let mut history = History::default();
        for (sandbox, action, second) in events {
            history.note(&json!({
                "Action": action,
                "Actor": {"ID": format!("c-{sandbox}"), "Attributes": {SANDBOX_LABEL: sandbox}},
                "timeNano": second * 1_000_000_000,
            }));
        }
        history
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_life_is_told_by_its_events() {
        let life = history(&[
            ("a", "start", 10),
            ("a", "pause", 20),
            ("a", "unpause", 30),
            ("a", "exec_start: sh", 31),
            ("a", "pause", 40),
            ("a", "unpause", 50),
            ("a", "kill", 50),
            ("a", "die", 51),
            ("a", "start", 60),
        ]);
        let states = [5, 10, 25, 35, 50, 55, 60].map(|second| life.at("a", at(second)));
        use State::*;
        assert_eq!(states, [New, Awake, Paused, Awake, Stopped, Stopped, Awake]);
        let counts = Counts {
            pauses: 2,
            woken_from_pause: 1,
            woken_from_stop: 1,
            booted_new: 1,
        };
        assert_eq!(life.counts(), counts);
        assert_eq!(life.stops().count(), 1);
    }

    #[test]
    fn who_is_awake_at_once_is_counted_with_the_paused() {
        let life = history(&[
            ("a", "start", 1),
            ("b", "start", 2),
            ("b", "pause", 3),
            ("c", "start", 4),
            ("a", "die", 5),
            ("d", "start", 6),
        ]);
        assert_eq!((life.most_awake, life.awake(), life.paused()), (3, 3, 1));
    }
}
