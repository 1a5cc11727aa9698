//! Is it as late here as elsewhere? Postgres and WhatsApp say what they think.
//!
//! Leases live by Postgres' clock, WhatsApp's 24 hours by Meta's; everything else by ours.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip},
};
use crate::clock::Clock;

const MAX_OFFSET: TimeDelta = TimeDelta::seconds(2);
const TODO: &str =
    "Let the machine keep its time: install and start chrony, or `timedatectl set-ntp true`.";

pub async fn clock(facts: &Facts) -> Result<Found, Found> {
    let mut compared = Vec::new();
    if let Ok(db) = facts.try_db().await {
        let asked = Clock::System.now();
        let said = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
            .fetch_one(db)
            .await;
        let answered = Clock::System.now();
        if let Ok(said) = said {
            compared.push(("Postgres", offset(asked, (said, said), answered)));
        }
    }
    if facts.config.roles.worker
        && let Ok(heard) = facts.try_graph().await
        && let Some(said) = heard.said
    {
        // The header is cut to whole seconds.
        let until = said + TimeDelta::seconds(1);
        compared.push((
            "WhatsApp",
            offset(heard.asked, (said, until), heard.answered),
        ));
    }
    Ok(judge(&compared))
}

/// How far the other clock is ahead of ours at least; zero when both may be right.
fn offset(
    asked: DateTime<Utc>,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    answered: DateTime<Utc>,
) -> TimeDelta {
    if from > answered {
        from - answered
    } else if until < asked {
        until - asked
    } else {
        TimeDelta::zero()
    }
}

fn judge(compared: &[(&str, TimeDelta)]) -> Found {
    if compared.is_empty() {
        return skip(
            "Neither Postgres nor WhatsApp is reached, so there is nothing to compare with.",
        );
    }
    match compared
        .iter()
        .find(|(_, offset)| offset.abs() > MAX_OFFSET)
    {
        Some((who, offset)) => {
            let direction = if *offset > TimeDelta::zero() {
                "behind"
            } else {
                "ahead of"
            };
            let seconds = offset.abs().num_seconds();
            fail(
                format!("The clock here is {seconds} s {direction} that of {who}."),
                TODO,
            )
        }
        None => {
            let names: Vec<_> = compared.iter().map(|(who, _)| *who).collect();
            ok(format!(
                "The clock agrees with that of {}.",
                names.join(" and ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn a_slow_answer_and_a_header_of_whole_seconds_are_no_offset() {
        assert_eq!(
            offset(at(0), (at(500), at(500)), at(900)),
            TimeDelta::zero()
        );
        assert_eq!(
            offset(at(999), (at(0), at(1000)), at(1500)),
            TimeDelta::zero()
        );
    }

    #[test]
    fn more_than_two_seconds_either_way_fail() {
        let verdict = |from: i64, until: i64| {
            judge(&[("WhatsApp", offset(at(0), (at(from), at(until)), at(100)))]).verdict
        };
        assert_eq!(verdict(2_000, 3_000), Verdict::Ok);
        assert_eq!(verdict(3_000, 4_000), Verdict::Fail);
        assert_eq!(verdict(-3_000, -2_000), Verdict::Ok);
        assert_eq!(verdict(-4_000, -3_000), Verdict::Fail);
        assert_eq!(judge(&[]).verdict, Verdict::Skip);
    }
}
