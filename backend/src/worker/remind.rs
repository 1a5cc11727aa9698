//! From a time to the inbox: what is due fires, or is left out for a reason that is counted.
//!
//! A heartbeat lets the agent look whether the person needs something. It fires only where what the
//! agent may say could reach somebody who is awake and wants to hear it, and wakes no sandbox that
//! has nothing to look after. Firing and advancing commit together, so nothing fires twice.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::Progress;
use crate::{
    broker::usage,
    clock::Clock,
    config, freeze,
    id::TenantId,
    inbox,
    lease::Lease,
    line::{Lines, policy},
    outbox::{self, nudge},
    reminder::{self, Due},
    sandbox::{self, Sandboxes},
    tenant::{self, Status, window},
    turn::{self, Trigger},
    wake::Wakes,
};

/// Looked at in one step.
const BATCH: i64 = 64;
/// Somebody who has not written for so long has left without a word; their agent is not woken for ever.
const SILENT_FOR: TimeDelta = TimeDelta::days(30);
/// The window of the limit on speaking unasked.
const DAY: TimeDelta = TimeDelta::days(1);

/// What firing needs. The worker's lease must be held.
pub struct Reminding {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
    pub lines: Lines,
    pub sandboxes: Sandboxes,
    pub wakes: Wakes,
    /// Zero: no heartbeats at all.
    pub every: Duration,
    pub unasked_per_day: i64,
    pub llm: config::Llm,
}

/// Why a heartbeat is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// We were away when it was due; the next one comes soon.
    Missed,
    /// Refused, undecided, suspended, opted out, erased, or without a number to hear from us on.
    NotActive,
    /// An operator has stopped what goes out.
    Frozen,
    /// WhatsApp would take nothing, or nothing but a template that has been of no use: the person has not
    /// written for a day.
    WindowClosed,
    QuietHours,
    /// Its sandbox sleeps, and the agent has nothing to look after.
    NothingToWakeFor,
    /// The agent is being talked to, or has not answered yet.
    Busy,
    /// It has spoken unasked as often as it may today.
    DayCap,
    /// The person's or everybody's tokens are used up.
    BudgetSpent,
}

/// What decides. In the order of what they cost to find out.
struct Facts {
    late: TimeDelta,
    standing: tenant::Standing,
    frozen: bool,
    /// Their line has a template, and they have not ignored too many.
    may_nudge: bool,
    sandbox_awake: bool,
    turn_waits: bool,
    times_unasked: i64,
    budget_left: bool,
}

impl Reminding {
    /// Fires what is due.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        if self.every.is_zero() || !self.lease.is_held() {
            return Ok(Progress::Idle);
        }
        let now = self.clock.now();
        let all = reminder::due(&self.db, now, BATCH)
            .await
            .context("look what is due")?;
        let progress = match all.is_empty() {
            true => Progress::Idle,
            false => Progress::Worked,
        };
        for due in all {
            self.fire(due, now).await.context("fire what is due")?;
        }
        Ok(progress)
    }

    async fn fire(&self, due: Due, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut facts = self.facts(due, now).await?;
        let mut reason = leave_out(&facts, self.every, self.unasked_per_day, now);
        if reason.is_none() {
            facts.budget_left = self.budget_left(due.tenant, now).await?;
            reason = leave_out(&facts, self.every, self.unasked_per_day, now);
        }
        let mut tx = self.db.begin().await?;
        let next_at = reminder::next_slot(due.id, self.every, now);
        if !reminder::advance(&mut *tx, due, next_at).await? {
            return Ok(());
        }
        if reason.is_none() {
            let firing = format!("{}:{}", due.id, due.next_at.timestamp_millis());
            inbox::fire(&mut *tx, due.tenant, Trigger::Heartbeat, &firing, now).await?;
        }
        tx.commit().await?;
        let outcome = reason.map_or("fired", Reason::name);
        metrics::counter!("clawkaka_heartbeats_total", "outcome" => outcome).increment(1);
        tracing::debug!(tenant.id = %due.tenant, outcome, "heartbeat");
        self.wakes.turns.notify_one();
        Ok(())
    }

    async fn facts(&self, due: Due, now: DateTime<Utc>) -> anyhow::Result<Facts> {
        let tenant = due.tenant;
        let mut db = self.db.acquire().await?;
        let standing = tenant::standing(&mut *db, tenant).await?;
        let frozen = freeze::is_frozen(&mut *db, tenant).await?;
        let sandbox = sandbox::row::of(&mut *db, tenant).await?;
        let times_unasked = outbox::times_unasked(&mut *db, tenant, now - DAY).await?;
        // Also what still waits for a next message.
        let soon = now + inbox::debounce::LONGEST;
        let turn_waits = turn::is_active(&mut *db, tenant).await?
            || inbox::what_waits(&mut *db, tenant, soon).await?.is_some();
        let may_nudge = match self.lines.get(standing.line) {
            // Only asked where it matters.
            Some(line) if standing.has_agenda => {
                !policy::templates(&mut *db, &line).await?.is_empty()
                    && nudge::in_a_row(&mut *db, tenant).await? < nudge::MAX_IN_A_ROW
            }
            _ => false,
        };
        drop(db);
        Ok(Facts {
            late: now - due.next_at,
            standing,
            frozen,
            may_nudge,
            sandbox_awake: sandbox.is_some_and(|id| self.sandboxes.is_awake(id)),
            turn_waits,
            times_unasked,
            // Adds up a whole day's calls: asked last, and only of those whom nothing else leaves out.
            budget_left: true,
        })
    }

    async fn budget_left(&self, tenant: TenantId, now: DateTime<Utc>) -> anyhow::Result<bool> {
        let (own, all) = usage::spent(&self.db, tenant, now).await?;
        Ok(own < self.llm.tokens_per_tenant_day && all < self.llm.tokens_per_day)
    }
}

/// Whether a heartbeat is left out, and why.
fn leave_out(
    facts: &Facts,
    every: Duration,
    unasked_per_day: i64,
    now: DateTime<Utc>,
) -> Option<Reason> {
    let standing = &facts.standing;
    let zone = window::zone(&standing.time_zone);
    let reasons = [
        (
            facts.late.to_std().is_ok_and(|late| late > every),
            Reason::Missed,
        ),
        (
            standing.status != Status::Active || standing.line_removed,
            Reason::NotActive,
        ),
        (facts.frozen, Reason::Frozen),
        (
            !window::is_open(standing.last_inbound_at, now) && !is_worth_a_template(facts, now),
            Reason::WindowClosed,
        ),
        (
            window::is_quiet(now, zone, standing.quiet_from, standing.quiet_to),
            Reason::QuietHours,
        ),
        (
            !facts.sandbox_awake && !standing.has_agenda,
            Reason::NothingToWakeFor,
        ),
        (facts.turn_waits, Reason::Busy),
        (facts.times_unasked >= unasked_per_day, Reason::DayCap),
        (!facts.budget_left, Reason::BudgetSpent),
    ];
    let found = reasons.into_iter().find(|(applies, _)| *applies);
    found.map(|(_, reason)| reason)
}

/// Whether somebody who has not written for a day can be told that something waits: then the agent may find
/// something, which is held for them.
fn is_worth_a_template(facts: &Facts, now: DateTime<Utc>) -> bool {
    let standing = &facts.standing;
    let wrote = standing.last_inbound_at;
    facts.may_nudge && standing.has_agenda && wrote.is_some_and(|at| now < at + SILENT_FOR)
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::NotActive => "not_active",
            Self::Frozen => "frozen",
            Self::WindowClosed => "window_closed",
            Self::QuietHours => "quiet_hours",
            Self::NothingToWakeFor => "nothing_to_wake_for",
            Self::Busy => "busy",
            Self::DayCap => "day_cap",
            Self::BudgetSpent => "budget_spent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LineId;

    const EVERY: Duration = Duration::from_secs(1800);

    fn noon() -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    /// Somebody who wrote an hour ago, whose agent is awake.
    fn facts() -> Facts {
        Facts {
            late: TimeDelta::seconds(1),
            standing: tenant::Standing {
                status: Status::Active,
                time_zone: "UTC".into(),
                language: "en".into(),
                quiet_from: "23:00:00".parse().unwrap(),
                quiet_to: "07:00:00".parse().unwrap(),
                last_inbound_at: Some(noon() - TimeDelta::hours(1)),
                has_agenda: false,
                line_removed: false,
                line: LineId(uuid::Uuid::nil()),
            },
            frozen: false,
            may_nudge: false,
            sandbox_awake: true,
            turn_waits: false,
            times_unasked: 3,
            budget_left: true,
        }
    }

    fn outcome(change: impl FnOnce(&mut Facts)) -> Option<Reason> {
        let mut facts = facts();
        change(&mut facts);
        leave_out(&facts, EVERY, 4, noon())
    }

    #[test]
    fn it_fires_for_somebody_who_wrote_lately_and_is_awake() {
        assert_eq!(outcome(|_| {}), None);
    }

    #[test]
    fn each_reason_to_stay_silent_is_enough() {
        use Reason::*;
        assert_eq!(
            outcome(|facts| facts.late = TimeDelta::minutes(31)),
            Some(Missed)
        );
        for status in [
            Status::Refused,
            Status::Undecided,
            Status::Suspended,
            Status::OptedOut,
            Status::Erased,
        ] {
            assert_eq!(
                outcome(|facts| facts.standing.status = status),
                Some(NotActive)
            );
        }
        assert_eq!(
            outcome(|facts| facts.standing.line_removed = true),
            Some(NotActive)
        );
        assert_eq!(outcome(|facts| facts.frozen = true), Some(Frozen));
        let yesterday = noon() - TimeDelta::hours(24);
        assert_eq!(
            outcome(|facts| facts.standing.last_inbound_at = Some(yesterday)),
            Some(WindowClosed)
        );
        let (yesterday, long_ago) = (Some(yesterday), Some(noon() - TimeDelta::days(30)));
        for (has_agenda, wrote, expected) in [
            (true, yesterday, None),
            (false, yesterday, Some(WindowClosed)),
            (true, long_ago, Some(WindowClosed)),
        ] {
            let with_a_template = outcome(|facts| {
                facts.may_nudge = true;
                facts.standing.has_agenda = has_agenda;
                facts.standing.last_inbound_at = wrote;
            });
            assert_eq!(with_a_template, expected, "{has_agenda} {wrote:?}");
        }
        assert_eq!(
            outcome(|facts| facts.standing.time_zone = "Asia/Tokyo".into()),
            None,
            "nine in the evening"
        );
        assert_eq!(
            outcome(|facts| facts.standing.time_zone = "Pacific/Auckland".into()),
            Some(QuietHours),
            "one in the night"
        );
        assert_eq!(
            outcome(|facts| facts.sandbox_awake = false),
            Some(NothingToWakeFor)
        );
        assert_eq!(
            outcome(|facts| (facts.sandbox_awake, facts.standing.has_agenda) = (false, true)),
            None,
            "something to look after is worth waking for"
        );
        assert_eq!(outcome(|facts| facts.turn_waits = true), Some(Busy));
        assert_eq!(outcome(|facts| facts.times_unasked = 4), Some(DayCap));
        assert_eq!(
            outcome(|facts| facts.budget_left = false),
            Some(BudgetSpent)
        );
    }
}
