//! When we may speak to a person unasked. Pure.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

/// WhatsApp takes free text for 24 hours after the person's last message. The half hour is for the
/// agent's turn and for the way out.
const OPEN_FOR: TimeDelta = TimeDelta::minutes(23 * 60 + 30);

/// Whether WhatsApp will take what we say now.
pub fn is_open(last_inbound_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    last_inbound_at.is_some_and(|at| now < at + OPEN_FOR)
}

/// The person's zone; UTC if the name is none.
pub fn zone(name: &str) -> Tz {
    name.parse().unwrap_or(Tz::UTC)
}

/// Whether it is between `from` and `to` where the person is. The hours may span midnight; equal
/// ones mean never.
pub fn is_quiet(now: DateTime<Utc>, zone: Tz, from: NaiveTime, to: NaiveTime) -> bool {
    let time = now.with_timezone(&zone).time();
    match from <= to {
        true => from <= time && time < to,
        false => from <= time || time < to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn time(text: &str) -> NaiveTime {
        text.parse().unwrap()
    }

    #[test]
    fn the_window_closes_half_an_hour_before_whatsapp_closes_it() {
        let wrote = at("2026-11-20T12:00:00Z");
        assert!(!is_open(None, wrote));
        assert!(is_open(Some(wrote), at("2026-11-21T11:29:59Z")));
        assert!(!is_open(Some(wrote), at("2026-11-21T11:30:00Z")));
    }

    #[test]
    fn quiet_hours_are_those_of_the_persons_own_clock() {
        let quiet = |now, zone_name| {
            let (from, to) = (time("23:00:00"), time("07:00:00"));
            is_quiet(at(now), zone(zone_name), from, to)
        };
        assert!(quiet("2026-11-20T23:00:00Z", "UTC"));
        assert!(quiet("2026-11-20T06:59:59Z", "UTC"));
        assert!(!quiet("2026-11-20T07:00:00Z", "UTC"));
        assert!(!quiet("2026-11-20T22:59:59Z", "UTC"));
        // Eight in the evening in New York, four in the morning in Madrid.
        assert!(!quiet("2026-07-01T00:30:00Z", "America/New_York"));
        assert!(quiet("2026-07-01T02:00:00Z", "Europe/Madrid"));
        assert!(quiet("2026-11-20T23:30:00Z", "Nowhere/At_All"));
    }

    #[test]
    fn quiet_hours_within_a_day_and_none_at_all() {
        let quiet = |now, from, to| is_quiet(at(now), Tz::UTC, time(from), time(to));
        assert!(quiet("2026-11-20T13:30:00Z", "13:00:00", "15:00:00"));
        assert!(!quiet("2026-11-20T15:00:00Z", "13:00:00", "15:00:00"));
        assert!(!quiet("2026-11-20T13:00:00Z", "13:00:00", "13:00:00"));
    }
}
