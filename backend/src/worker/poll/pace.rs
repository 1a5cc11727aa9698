//! Which time the next look is about. Pure: what came of the last ones in, a window out.
//!
//! In memory only: a process that begins looks wide once and asks for receipts at once.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    backoff,
    config::{POLL_AT_LEAST_EVERY, POLL_BESIDE_A_WEBHOOK_EVERY},
    line::{
        Delivery,
        cursor::{Cursor, Look},
    },
    whatsapp::poll::{Trouble, Window},
    worker::Progress,
};

/// How often a look goes further back than the one before it ended.
const WIDE_EVERY: TimeDelta = TimeDelta::minutes(10);
/// Receipts are for unclear sends, which wait for 90 s: five chances to be heard of.
const RECEIPTS_EVERY: TimeDelta = TimeDelta::seconds(15);
/// Of a line that was added by command and is polled. With its receipts that takes 16 requests a minute;
/// beside the line of the environment (32) and what is sent, Kapso's free plan has room for it: 100 a
/// minute and key (Kapso docs: rate limits).
const ADDED_EVERY: Duration = Duration::from_secs(15);

/// How often a line that was added is asked about. Kapso counts by the key: the `sharing` lines that are
/// asked about with one ask for as much together as one alone, until the pause would be too long.
pub fn usual(delivery: Delivery, sharing: u32) -> Duration {
    let alone = match delivery {
        Delivery::Webhook => POLL_BESIDE_A_WEBHOOK_EVERY,
        Delivery::Poll => ADDED_EVERY,
    };
    let shared = alone.saturating_mul(sharing.max(1));
    shared.min(POLL_AT_LEAST_EVERY)
}

#[derive(Default)]
pub struct Pace {
    /// Looks in a row that failed.
    pub failures: i32,
    wide_at: Option<DateTime<Utc>>,
    receipts_at: Option<DateTime<Utc>>,
    receipts_failures: i32,
    /// There were too many: so long a time is asked for, the oldest first.
    receipts_last: Option<TimeDelta>,
    /// There was too much for one look: it is done in parts, this one next.
    part: Option<Part>,
}

#[derive(Clone, Copy)]
struct Part {
    from: DateTime<Utc>,
    lasts: TimeDelta,
}

impl Pace {
    pub fn receipts_are_due(&self, now: DateTime<Utc>) -> bool {
        self.receipts_at.is_none_or(|at| at <= now)
    }

    pub fn receipts_window(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> Window {
        let until = self.receipts_last.map(|last| since + last);
        Window {
            since,
            until: until.filter(|until| *until < now),
        }
    }

    pub fn receipts_done(&mut self, window: Window, now: DateTime<Utc>) {
        self.receipts_failures = 0;
        self.receipts_at = Some(now + RECEIPTS_EVERY);
        if window.until.is_none() {
            self.receipts_last = None;
        }
    }

    pub fn receipts_failed(&mut self, now: DateTime<Utc>) {
        self.receipts_failures = self.receipts_failures.saturating_add(1);
        let pause = backoff::POLL.after(self.receipts_failures, Uuid::nil());
        let pause = TimeDelta::from_std(pause).unwrap_or(RECEIPTS_EVERY);
        self.receipts_at = Some(now + pause.max(RECEIPTS_EVERY));
    }

    /// The older half is where whatever waits has waited the longest.
    pub fn too_many_receipts(&mut self, window: Window, now: DateTime<Utc>) -> Result<(), Trouble> {
        let half = half(window, now)?;
        self.receipts_last = half.until.map(|until| until - window.since);
        Ok(())
    }

    fn is_wide_due(&self, now: DateTime<Utc>) -> bool {
        self.wide_at.is_none_or(|at| at <= now)
    }

    pub fn window(&self, cursor: &Cursor, now: DateTime<Utc>) -> Window {
        if let Some(part) = self.part {
            let until = part.from + part.lasts;
            return Window {
                since: part.from,
                until: (until < now).then_some(until),
            };
        }
        let look = match self.is_wide_due(now) {
            true => Look::Wide,
            false => Look::Usual,
        };
        Window {
            since: cursor.since(look, now),
            until: None,
        }
    }

    /// The next look is about the older half of this time.
    pub fn too_many(&mut self, window: Window, now: DateTime<Utc>) -> Result<(), Trouble> {
        let half = half(window, now)?;
        self.part = half.until.map(|until| Part {
            from: window.since,
            lasts: until - window.since,
        });
        Ok(())
    }

    /// All of a window is stored. Whether there is more to do at once.
    pub fn found(&mut self, window: Window, now: DateTime<Utc>) -> Progress {
        if let (Some(part), Some(until)) = (self.part, window.until) {
            self.part = Some(Part {
                from: until,
                ..part
            });
            return Progress::Worked;
        }
        self.part = None;
        if self.is_wide_due(now) {
            self.wide_at = Some(now + WIDE_EVERY);
        }
        Progress::Idle
    }
}

/// The older half of a window, in whole seconds: finer is nothing that can be asked for.
fn half(window: Window, now: DateTime<Utc>) -> Result<Window, Trouble> {
    let middle = window.since + (window.until.unwrap_or(now) - window.since) / 2;
    let middle = middle.trunc_subsecs(0);
    if middle <= window.since {
        return Err(Trouble::Odd("it has no end"));
    }
    Ok(Window {
        until: Some(middle),
        ..window
    })
}
