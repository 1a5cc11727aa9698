//! The work itself: who does it, what is stopped, what lies longer than it should.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
};
use crate::{
    clock::Clock,
    freeze, lease,
    operator::{answer::ago, freeze as command},
};

/// Routing and opening a turn take milliseconds.
const SLOW_IN: TimeDelta = TimeDelta::minutes(1);
/// An unclear send waits 90 s for a receipt, and others behind it.
const SLOW_OUT: TimeDelta = TimeDelta::minutes(5);
/// At the deadline a turn looks at the transcript once more.
const AFTER_DEADLINE: TimeDelta = TimeDelta::minutes(2);
const LATELY: TimeDelta = TimeDelta::hours(1);
/// One failed start is no news.
const FAILING: i32 = 3;

pub(super) fn unread(error: anyhow::Error) -> Found {
    skip(format!("The tables cannot be read: {error:#}."))
}

pub async fn frozen(facts: &Facts) -> Result<Found, Found> {
    let all = freeze::list(facts.db().await?).await.map_err(unread)?;
    let now = Clock::System.now();
    Ok(match all.first() {
        None => ok("Nothing is frozen."),
        Some(first) => warn(
            format!(
                "{} since {}, by {}: nothing goes out there ({} freezes in all).",
                command::name(first.scope),
                ago(first.since, now),
                first.actor,
                all.len()
            ),
            format!(
                "When the reason is gone: clawkaka unfreeze{}",
                command::again(first.scope)
            ),
        ),
    })
}

pub async fn lease(facts: &Facts) -> Result<Found, Found> {
    let live = lease::live(facts.db().await?).await.map_err(unread)?;
    Ok(match live.first() {
        Some(id) => ok(format!("Worker {id} is at work.")),
        None => fail(
            "No worker is at work: messages are stored and wait.",
            "Start it; if it does not stay up, its log says why.",
        ),
    })
}

/// What lies in the queues for longer than it should, frozen and suspended people left out.
pub(super) struct Late {
    unrouted: i64,
    unrouted_since: Option<DateTime<Utc>>,
    waiting: i64,
    waiting_since: Option<DateTime<Utc>>,
    unsent: i64,
    unsent_since: Option<DateTime<Utc>>,
}

pub(super) async fn late(db: &PgPool, now: DateTime<Utc>) -> anyhow::Result<Late> {
    sqlx::query_as!(
        Late,
        r#"with people as (
               select t.id from tenant t join line l on l.id = t.line_id
               where t.status = 'active' and coalesce(l.blocked_until, '-infinity') <= $3
                 and l.removed_at is null
                 and not exists (select from frozen_tenant f where f.tenant_id = t.id)
           ), unrouted as (
               select received_at from inbox
               where done_at is null and tenant_id is null and received_at < $1
           ), waiting as (
               select i.received_at from inbox i join people p on p.id = i.tenant_id
               where i.done_at is null and i.turn_id is null and i.received_at < $1
                 and not exists (select from turn where tenant_id = p.id and state = 'active')
           ), unsent as (
               select o.created_at from outbox o join people p on p.id = o.tenant_id
               where o.state = 'queued' and o.created_at < $2 and o.run_after < $2
                 and not exists (
                     select from outbox e where e.tenant_id = o.tenant_id and e.seq < o.seq
                     and e.state in ('sending', 'unknown', 'held'))
           )
           select
             (select count(*) from unrouted) as "unrouted!",
             (select min(received_at) from unrouted) as unrouted_since,
             (select count(*) from waiting) as "waiting!",
             (select min(received_at) from waiting) as waiting_since,
             (select count(*) from unsent) as "unsent!",
             (select min(created_at) from unsent) as unsent_since"#,
        now - SLOW_IN,
        now - SLOW_OUT,
        now,
    )
    .fetch_one(db)
    .await
    .context("look what is late")
}

pub async fn queue(facts: &Facts) -> Result<Found, Found> {
    let db = facts.db().await?;
    if lease::live(db).await.map_err(unread)?.is_empty() {
        return Err(skip("No worker is at work."));
    }
    let now = Clock::System.now();
    let late = late(db, now).await.map_err(unread)?;
    Ok(judge_queue(&late, now))
}

pub(super) fn judge_queue(late: &Late, now: DateTime<Utc>) -> Found {
    let queues = [
        (
            "cannot be routed",
            late.unrouted,
            late.unrouted_since,
            "Look in the worker's log for `failed to route`.",
        ),
        (
            "wait for a turn",
            late.waiting,
            late.waiting_since,
            "Look in the worker's log for station=deliver, and at `walls` and `memory`.",
        ),
        (
            "are not sent",
            late.unsent,
            late.unsent_since,
            "`clawkaka trace` of one of them says why; look in the worker's log for station=send.",
        ),
    ];
    let worst = queues.into_iter().find(|(_, count, ..)| *count > 0);
    match worst {
        Some((what, count, Some(since), todo)) => fail(
            format!(
                "{count} messages {what}, the oldest from {}.",
                ago(since, now)
            ),
            todo,
        ),
        _ => ok("Nothing lies longer than it should."),
    }
}

struct Turns {
    overdue: i64,
    buried: i64,
    active: i64,
}

pub async fn turns(facts: &Facts) -> Result<Found, Found> {
    let db = facts.db().await?;
    if lease::live(db).await.map_err(unread)?.is_empty() {
        return Err(skip("No worker is at work."));
    }
    let now = Clock::System.now();
    let turns = sqlx::query_as!(
        Turns,
        r#"select
             count(*) filter (where state = 'active' and deadline_at < $1) as "overdue!",
             count(*) filter (where state = 'buried' and done_at > $2) as "buried!",
             count(*) filter (where state = 'active') as "active!"
           from turn where state = 'active' or done_at > $2"#,
        now - AFTER_DEADLINE,
        now - LATELY,
    )
    .fetch_one(db)
    .await
    .context("look at the turns")
    .map_err(unread)?;
    Ok(judge_turns(&turns))
}

fn judge_turns(turns: &Turns) -> Found {
    match turns {
        Turns { overdue: 1.., .. } => fail(
            format!(
                "{} turns are past their deadline and nobody ends them.",
                turns.overdue
            ),
            "Restart the worker: the next one takes them over. Then send us its log.",
        ),
        Turns { buried: 1.., .. } => warn(
            format!("{} turns were given up within the hour.", turns.buried),
            "`select outcome, count(*) from turn where state = 'buried' group by 1` says why.",
        ),
        _ => ok(format!("{} turns run.", turns.active)),
    }
}

pub async fn sandboxes(facts: &Facts) -> Result<Found, Found> {
    let db = facts.db().await?;
    let failing = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sandbox where failures >= $1 and gone_at is null"#,
        FAILING,
    )
    .fetch_one(db)
    .await
    .context("look at the sandboxes")
    .map_err(unread)?;
    Ok(match failing {
        0 => ok("Every sandbox that should be awake has started."),
        failing => warn(
            format!("{failing} sandboxes failed to start {FAILING} times or more in a row."),
            "Look in the worker's log for `sandbox is broken`, and at `memory` and `image`.",
        ),
    })
}
