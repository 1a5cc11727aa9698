//! The settings that are times: how long what may take, and how often what is done.

use std::{ops::RangeInclusive, time::Duration};

use super::{Raw, check::Check};
use crate::inbox::debounce;

/// Until then WhatsApp may refuse a message that it took, and it is sent again.
const MIN_RETENTION: Duration = Duration::from_secs(24 * 3600);
const DEBOUNCE: RangeInclusive<Duration> = Duration::ZERO..=debounce::LONGEST;

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Zero: agents are never asked whether a person needs something.
    pub heartbeat_every: Duration,
    /// Of new people.
    pub time_zone: chrono_tz::Tz,
    /// Without a message a sandbox sleeps lightly, and then deeply.
    pub sandbox_pause_after: Duration,
    pub sandbox_stop_after: Duration,
    /// How long a message waits for the next one. Zero: not at all.
    pub debounce: Duration,
    pub turn_deadline: Duration,
    pub turn_idle: Duration,
    /// How long a person waits without a word before they are told that it goes on. Zero: for ever.
    pub still_working_after: Duration,
    pub send_unknown_wait: Duration,
    /// How long what was said is kept once it is done with.
    pub retention: Duration,
}

impl Timing {
    pub(super) fn check(check: &mut Check<'_>, raw: &Raw) -> Self {
        Self {
            heartbeat_every: check.interval("HEARTBEAT_EVERY", &raw.heartbeat_every),
            time_zone: check.time_zone("TIME_ZONE", &raw.time_zone),
            sandbox_pause_after: check.duration("SANDBOX_PAUSE_AFTER", &raw.sandbox_pause_after),
            sandbox_stop_after: check.duration("SANDBOX_STOP_AFTER", &raw.sandbox_stop_after),
            debounce: check.duration_within(
                "DEBOUNCE",
                &raw.debounce,
                DEBOUNCE,
                "for example 1500ms",
            ),
            turn_deadline: check.duration("TURN_DEADLINE", &raw.turn_deadline),
            turn_idle: check.duration("TURN_IDLE", &raw.turn_idle),
            still_working_after: check.interval("STILL_WORKING_AFTER", &raw.still_working_after),
            send_unknown_wait: check.duration("SEND_UNKNOWN_WAIT", &raw.send_unknown_wait),
            retention: check.duration_from("RETENTION", &raw.retention, MIN_RETENTION),
        }
    }
}
