//! What came of a soak: counted, judged and told in a table.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    Soak, Town, Written, mark_of,
    sample::Seen,
    watch::{Counts, State},
};
use crate::{bench::report::percentile, crowd::marks_in, whatsapp::Bubble};

/// The sentence to somebody for whom there is no place yet.
const WAITS_FOR_A_PLACE: &str = "in the queue";
/// Between a step's end and what is logged of it.
const LOGGED_WITHIN: TimeDelta = TimeDelta::seconds(2);

#[derive(Debug)]
pub struct Outcome {
    pub soak: Soak,
    pub people: usize,
    pub messages: usize,
    /// Messages to people, our own sentences left out.
    pub answers: usize,
    pub turns: i64,
    pub counts: Counts,
    /// Stopped before their time, for somebody who waited.
    pub evictions: usize,
    /// Times somebody was told that they wait for a place.
    pub told_to_wait: usize,
    pub most_awake: usize,
    /// In seconds, of those that waited for nothing but themselves, by what they found.
    pub answer_seconds: BTreeMap<Found, Vec<f64>>,
    /// In seconds, of any message.
    pub longest_wait: f64,
    pub seen: Seen,
}

/// How a message found its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Found {
    Only(State),
    /// Whatever it was, somebody else had to make room first.
    CrowdedOut,
}

/// A message with its answer.
struct Answered<'a> {
    written: &'a Written,
    at: DateTime<Utc>,
    told_to_wait: bool,
}

impl Outcome {
    pub(super) async fn judge(town: &Town<'_>, soak: Soak, seen: Seen) -> anyhow::Result<Self> {
        let (written, history) = (town.written().clone(), town.watch.borrow().clone());
        let mut answer_seconds: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let (mut answers, mut told_to_wait, mut longest_wait) = (0, 0, 0.0_f64);
        for (who, person) in town.people.iter().enumerate() {
            let theirs: Vec<_> = written.iter().filter(|one| one.person == who).collect();
            let chat = town.product.whatsapp.chat(person);
            let matched = once_and_in_order(&theirs, &chat);
            let matched =
                matched.with_context(|| format!("person {who}:{}", town.product.screen(person)))?;
            let with_marks = |bubble: &&Bubble| !marks_in(&bubble.text).is_empty();
            answers += chat.iter().filter(with_marks).count();
            told_to_wait += chat.iter().filter(|bubble| tells_to_wait(bubble)).count();
            let sandbox = town.sandbox_of(who).await?.unwrap_or_default();
            for answered in matched {
                let waited = (answered.at - answered.written.at).as_seconds_f64();
                longest_wait = longest_wait.max(waited);
                if answered.written.first {
                    let found = match answered.told_to_wait {
                        true => Found::CrowdedOut,
                        false => Found::Only(history.at(&sandbox, answered.written.at)),
                    };
                    answer_seconds.entry(found).or_default().push(waited);
                }
            }
        }
        Ok(Self {
            soak,
            people: town.people.len(),
            messages: written.len(),
            answers,
            turns: town
                .product
                .postgres
                .count("select count(*) from turn where trigger = 'message'")
                .await?,
            counts: history.counts(),
            evictions: evictions(town, soak.stop_after).await?,
            told_to_wait,
            most_awake: history.most_awake.max(seen.most_awake),
            answer_seconds,
            longest_wait,
            seen,
        })
    }

    /// What holds in every look, whatever the load.
    pub(super) fn keeps_the_promises(&self) -> anyhow::Result<()> {
        let (awake, places) = (self.most_awake, self.soak.capacity);
        anyhow::ensure!(awake <= places, "{awake} were awake on {places} places");
        let sleepers = self.seen.sleepers_kilobytes;
        anyhow::ensure!(sleepers == 0, "those who slept took {sleepers} kB");
        Ok(())
    }

    /// The kinds of sandbox that no message found: the script was too short for them.
    pub fn never_met(&self) -> Vec<&'static str> {
        ROWS.iter()
            .filter(|(found, _)| !self.answer_seconds.contains_key(found))
            .map(|(_, name)| *name)
            .collect()
    }

    pub fn table(&self) -> String {
        let mut table = String::new();
        let seen = &self.seen;
        let core = seen.our_time.as_secs_f64() / seen.took.as_secs_f64() * 100.0;
        let rows = [
            ("seed", self.soak.seed.to_string()),
            ("took", format!("{:.0} s", seen.took.as_secs_f64())),
            ("people", self.people.to_string()),
            ("messages", self.messages.to_string()),
            (
                "answers",
                format!("{}, each message in one of them, in order", self.answers),
            ),
            ("turns", self.turns.to_string()),
            (
                "booted for somebody new",
                self.counts.booted_new.to_string(),
            ),
            ("paused", self.counts.pauses.to_string()),
            (
                "woken from a pause",
                self.counts.woken_from_pause.to_string(),
            ),
            ("woken from a stop", self.counts.woken_from_stop.to_string()),
            ("stopped to make room", self.evictions.to_string()),
            ("told that they wait", self.told_to_wait.to_string()),
            (
                "most awake at once",
                format!("{} on {} places", self.most_awake, self.soak.capacity),
            ),
            (
                "memory of those asleep",
                format!("{} kB in {} looks", seen.sleepers_kilobytes, seen.looks),
            ),
            ("longest wait", format!("{:.1} s", self.longest_wait)),
            ("our memory at most", format!("{:.0} MiB", seen.our_memory)),
            ("our time on a core", format!("{core:.1} %")),
        ];
        // Writing to a string cannot fail.
        for (name, value) in rows {
            let _ = writeln!(table, "{name:<26} {value}");
        }
        let _ = writeln!(
            table,
            "\n{:<26} {:>6} {:>8} {:>8} {:>8}",
            "answered after, in seconds", "of", "p50", "p95", "most"
        );
        for (found, name) in ROWS {
            let times = self.answer_seconds.get(&found);
            let times = times.map(Vec::as_slice).unwrap_or_default();
            let at = |percent| match percentile(times, percent) {
                number if number.is_nan() => "–".to_owned(),
                number => format!("{number:.2}"),
            };
            let _ = writeln!(
                table,
                "{name:<26} {:>6} {:>8} {:>8} {:>8}",
                times.len(),
                at(50.0),
                at(95.0),
                at(100.0)
            );
        }
        table
    }
}

/// What a message may find, in the order of the table.
const ROWS: [(Found, &str); 5] = [
    (Found::Only(State::Awake), "  awake"),
    (Found::Only(State::Paused), "  paused"),
    (Found::Only(State::Stopped), "  stopped"),
    (Found::Only(State::New), "  somebody new"),
    (Found::CrowdedOut, "  no place, told to wait"),
];

fn tells_to_wait(bubble: &Bubble) -> bool {
    bubble.text.contains(WAITS_FOR_A_PLACE)
}

/// Every message in exactly one answer, in the order written; with when each was answered.
fn once_and_in_order<'a>(
    written: &[&'a Written],
    chat: &[Bubble],
) -> anyhow::Result<Vec<Answered<'a>>> {
    let answers = chat.iter().flat_map(|bubble| {
        let marks = marks_in(&bubble.text);
        marks.into_iter().map(|mark| (mark.to_owned(), bubble.at))
    });
    let answers: Vec<_> = answers.collect();
    let said: Vec<_> = answers.iter().map(|(mark, _)| mark.clone()).collect();
    let expected: Vec<_> = written
        .iter()
        .map(|one| mark_of(one.person, one.number))
        .collect();
    anyhow::ensure!(said == expected, "{said:?} instead of {expected:?}");
    let told: Vec<_> = chat.iter().filter(|bubble| tells_to_wait(bubble)).collect();
    let matched = written.iter().zip(answers).map(|(one, (_, at))| Answered {
        written: one,
        at,
        told_to_wait: told
            .iter()
            .any(|bubble| one.at < bubble.at && bubble.at < at),
    });
    Ok(matched.collect())
}

/// How many were stopped sooner after their person's last turn than they would have been.
async fn evictions(town: &Town<'_>, stop_after: Duration) -> anyhow::Result<usize> {
    let ended: Vec<(String, i64)> = sqlx::query_as(
        "select sandbox_id::text, (extract(epoch from done_at) * 1000000)::bigint
         from turn where done_at is not null",
    )
    .fetch_all(&town.product.postgres.db)
    .await
    .context("list the turns")?;
    let mut turns: HashMap<_, Vec<_>> = HashMap::new();
    for (sandbox, microseconds) in ended {
        let at = DateTime::from_timestamp_micros(microseconds).context("read a time")?;
        turns.entry(sandbox).or_default().push(at);
    }
    let steps = stop_steps(&town.product.logs.text()?);
    let history = town.watch.borrow();
    let mut evicted = 0;
    for (sandbox, at) in history.stops() {
        // It is decided before it is done: the gateway comes to rest in between.
        let step = steps.iter().find(|step| {
            step.sandbox == sandbox && step.begun <= at && at <= step.ended + LOGGED_WITHIN
        });
        let Some(step) = step else { continue };
        let theirs = turns.get(sandbox).into_iter().flatten();
        let last = theirs.filter(|turn| **turn <= step.begun).max();
        evicted += usize::from(last.is_some_and(|last| step.begun < *last + stop_after));
    }
    Ok(evicted)
}

struct Step {
    sandbox: String,
    begun: DateTime<Utc>,
    ended: DateTime<Utc>,
}

/// The steps of stopping that the log tells of.
fn stop_steps(log: &str) -> Vec<Step> {
    let lines = log.lines().filter(|line| line.contains("sandbox step"));
    let steps = lines.filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let ended = line["timestamp"].as_str()?.parse::<DateTime<Utc>>().ok()?;
        let took = TimeDelta::milliseconds(line["ms"].as_str()?.parse().ok()?);
        (line["step"] == "stop").then_some(Step {
            sandbox: line["sandbox.id"].as_str()?.to_owned(),
            begun: ended - took,
            ended,
        })
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crowd::person,
        whatsapp::{Side, Ticks},
    };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn written(number: usize, second: i64) -> Written {
        Written {
            person: 0,
            number,
            wamid: String::new(),
            at: at(second),
            first: true,
        }
    }

    fn says(text: &str, second: i64) -> Bubble {
        Bubble {
            side: Side::Assistant,
            person: person(1),
            wamid: String::new(),
            text: text.to_owned(),
            at: at(second),
            ticks: Ticks::Read,
            callback: None,
        }
    }

    fn answer(numbers: &[usize], second: i64) -> Bubble {
        let marks: Vec<_> = numbers.iter().map(|number| mark_of(0, *number)).collect();
        says(&format!("Got it, thank you! {}", marks.join(" ")), second)
    }

    #[test]
    fn what_is_answered_twice_not_at_all_or_in_another_order_is_found() {
        let (a, b) = (written(0, 1), written(1, 2));
        let judged = |chat: &[Bubble]| once_and_in_order(&[&a, &b], chat).map(|all| all.len());
        assert_eq!(judged(&[answer(&[0, 1], 5)]).unwrap(), 2);
        assert_eq!(judged(&[answer(&[0], 5), answer(&[1], 6)]).unwrap(), 2);
        assert!(judged(&[answer(&[0], 5)]).is_err());
        assert!(judged(&[answer(&[1, 0], 5)]).is_err());
        assert!(judged(&[answer(&[0, 1], 5), answer(&[1], 6)]).is_err());
    }

    #[test]
    fn who_was_told_to_wait_counts_apart() {
        let (a, b) = (written(0, 1), written(1, 20));
        let waits = says("Your message is in the queue, and the answer will come.", 4);
        let chat = [waits, answer(&[0], 9), answer(&[1], 21)];
        let told: Vec<_> = once_and_in_order(&[&a, &b], &chat)
            .unwrap()
            .iter()
            .map(|one| one.told_to_wait)
            .collect();
        assert_eq!(told, [true, false]);
    }

    #[test]
    fn steps_of_stopping_are_read_from_the_log() {
        let log = r#"{"timestamp":"2026-01-01T00:00:05Z","message":"sandbox step","sandbox.id":"a","step":"stop","ms":"1500"}
{"timestamp":"2026-01-01T00:00:06Z","message":"sandbox step","sandbox.id":"b","step":"start","ms":"10"}
not json"#;
        let steps = stop_steps(log);
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].ended - steps[0].begun).num_milliseconds(), 1500);
    }
}
