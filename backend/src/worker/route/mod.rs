//! From the inbox to a person: `[inbox] → tenant → turn`.
//!
//! One worker routes, row by row in order of arrival, each in a transaction of its own effect: a
//! row ends up waiting for a person's turn, or finished with an outcome. Routing twice is harmless,
//! for whatever it does commits together with the row's own mark.

mod admit;
mod command;
mod consent;
mod group;
mod obey;

use command::Command;
use obey::ENDS_A_TURN;

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Acquire, PgConnection, PgPool};

use super::Progress;
use crate::{
    clock::Clock,
    config::{Limits, Timing},
    copy,
    id::{InboxId, LineId, TenantId},
    inbox::{self, Unrouted},
    line::policy::Policy,
    outbox::{self, Draft},
    receipt,
    seal::{Opener, Sealer},
    tenant::{self, Status, Tenant, address::AddressBook, blocked, invite::Codes},
    wake::Wakes,
    whatsapp::event::{self, Call, Content, InboundEvent, Message},
};

/// Rows in one transaction: enough to amortise its commit, few enough to hold nothing up.
const BATCH: i64 = 64;
/// How long a row rests that could not be routed, while the ones behind it go on.
const PUT_OFF: TimeDelta = TimeDelta::minutes(1);

/// What routing needs.
pub struct Routing {
    pub db: PgPool,
    pub clock: Clock,
    pub opener: Arc<Opener>,
    pub sealer: Arc<Sealer>,
    pub book: AddressBook,
    pub codes: Codes,
    pub limits: Limits,
    /// What holds on a line for which nothing else was set.
    pub policy: Policy,
    pub timing: Timing,
    pub wakes: Wakes,
}

impl Routing {
    /// Routes what is there.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        let now = self.clock.now();
        let rows = inbox::unrouted(&self.db, now, BATCH)
            .await
            .context("read the inbox")?;
        if rows.is_empty() {
            return Ok(Progress::Idle);
        }
        let mut tx = self.db.begin().await.context("begin routing")?;
        let mut stops = false;
        for row in &rows {
            let mut savepoint = tx.begin().await.context("begin routing a row")?;
            match self.route(&mut savepoint, row, now).await {
                Ok(outcome) => {
                    savepoint.commit().await.context("keep a routed row")?;
                    stops |= ENDS_A_TURN.contains(&outcome);
                    metrics::counter!("clawkaka_routed_total", "outcome" => outcome).increment(1);
                }
                Err(error) => {
                    savepoint.rollback().await.context("undo a row")?;
                    tracing::error!(inbox.id = %row.id, "failed to route an update: {error:#}");
                    inbox::put_off(&mut *tx, row.id, now + PUT_OFF).await?;
                }
            }
        }
        tx.commit().await.context("commit routing")?;
        self.wakes.turns.notify_one();
        self.wakes.outbox.notify_one();
        if stops {
            self.wakes.stops.notify_waiters();
        }
        Ok(Progress::Worked)
    }

    async fn route(
        &self,
        db: &mut PgConnection,
        row: &Unrouted,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        let Some(line) = row.line else {
            return self.finish(db, row.id, None, "unknown_line", now).await;
        };
        let body = self.opener.open(&row.body)?;
        match event::parse(&row.kind, &body) {
            InboundEvent::Message(message) => self.message(db, row.id, line, message, now).await,
            InboundEvent::Status(status) => {
                receipt::record(db, line, &status, now)
                    .await
                    .context("record a receipt")?;
                self.finish(db, row.id, None, "receipt", now).await
            }
            InboundEvent::Rekey(rekey) => {
                let tenant = self
                    .book
                    .rekey(db, line, &rekey, now)
                    .await
                    .context("re-key")?;
                self.finish(db, row.id, tenant, "rekeyed", now).await
            }
            InboundEvent::Call(call) => self.called(db, row.id, line, call, now).await,
            InboundEvent::Unknown => self.finish(db, row.id, None, "unknown", now).await,
        }
    }

    /// A call of somebody we know opens their 24 hours, and does nothing else.
    async fn called(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        line: LineId,
        call: Call,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        let known = self.book.find(db, line, &call.from).await;
        let known = known.context("find a caller")?;
        let keys = self.book.keys(&call.from);
        if let Some(tenant) = known
            && !blocked::is_blocked(&mut *db, line, &keys).await?
        {
            tenant::heard_from(&mut *db, tenant, call.at.unwrap_or(now).min(now)).await?;
            outbox::release_held(&mut *db, tenant, now).await?;
        }
        self.finish(db, id, known, "call", now).await
    }

    async fn message(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        line: LineId,
        mut message: Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        if message.sender.group.is_some() {
            let heard = self.in_group(db, id, line, message, now).await;
            return heard.context("hear a group");
        }
        let known = self
            .book
            .find(db, line, &message.sender)
            .await
            .context("find the sender")?;
        let keys = self.book.keys(&message.sender);
        if blocked::is_blocked(&mut *db, line, &keys).await? {
            return self.finish(db, id, known, "refused", now).await;
        }
        let tenant = match known {
            Some(tenant) => tenant::find(&mut *db, tenant)
                .await?
                .context("a tenant without row")?,
            // A row to know them by; whether they are let in is seen below.
            None => {
                let zone = self.timing.time_zone;
                tenant::create(&mut *db, line, Status::Refused, zone, now)
                    .await
                    .context("make a row for a new person")?
            }
        };
        self.book
            .learn(db, line, tenant.id, &message.sender, now)
            .await?;
        let command = command::read(&message).filter(|command| match command {
            Command::OptIn => tenant.status == Status::OptedOut,
            Command::Confirm => tenant.asked_until.is_some_and(|until| now < until),
            Command::ConfirmExport => tenant.export_asked_until.is_some_and(|until| now < until),
            _ => true,
        });
        match tenant.status {
            Status::Active => {}
            Status::Refused => {
                let admitted = self.admit(db, id, line, &tenant, &mut message, now);
                if let Some(outcome) = admitted.await.context("admit a new person")? {
                    tenant::heard_from(&mut *db, tenant.id, message.at.unwrap_or(now).min(now))
                        .await?;
                    return self.finish(db, id, Some(tenant.id), outcome, now).await;
                }
            }
            Status::Undecided => {
                let heard = self.hear_decision(db, id, line, &tenant, &message, now);
                if let Some(outcome) = heard.await.context("hear a decision")? {
                    tenant::heard_from(&mut *db, tenant.id, message.at.unwrap_or(now).min(now))
                        .await?;
                    return self.finish(db, id, Some(tenant.id), outcome, now).await;
                }
            }
            Status::OptedOut => match command {
                Some(command @ Command::OptIn) if !tenant.leaves => {
                    tenant::heard_from(&mut *db, tenant.id, message.at.unwrap_or(now).min(now))
                        .await?;
                    return self.obey(db, id, tenant.id, command, now).await;
                }
                _ => return self.finish(db, id, Some(tenant.id), "opted_out", now).await,
            },
            Status::Suspended | Status::Erased => {
                return self.finish(db, id, Some(tenant.id), "refused", now).await;
            }
        }
        self.take(db, id, &tenant, message, command, now).await
    }

    /// What becomes of a message of somebody who is let in.
    async fn take(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        tenant: &Tenant,
        message: Message,
        command: Option<Command>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        tenant::heard_from(&mut *db, tenant.id, message.at.unwrap_or(now).min(now)).await?;
        outbox::release_held(&mut *db, tenant.id, now).await?;
        if let Some(command) = command.filter(|command| command.is_urgent()) {
            return self.obey(db, id, tenant.id, command, now).await;
        }
        if self.is_over_limit(db, tenant.id, id, now).await? {
            self.say_once(db, tenant, copy::SLOW_DOWN, now).await?;
            return self
                .finish(db, id, Some(tenant.id), "over_limit", now)
                .await;
        }
        if let Some(command) = command {
            return self.obey(db, id, tenant.id, command, now).await;
        }
        match message.content {
            Content::Other(kind) => {
                self.say(
                    db,
                    tenant.id,
                    format!("cannot-read/{id}"),
                    copy::cannot_read(kind),
                    now,
                )
                .await?;
                self.finish(db, id, Some(tenant.id), "unsupported", now)
                    .await
            }
            Content::Empty => self.finish(db, id, Some(tenant.id), "empty", now).await,
            // Nobody expects an answer to these; the agent hears of them with the next question.
            Content::Reaction { emoji: None, .. } => {
                self.finish(db, id, Some(tenant.id), "noted", now).await
            }
            Content::Deletion { of } => {
                let outcome = match inbox::take_back(&mut *db, tenant.id, &of, now).await? {
                    true => "taken_back",
                    false => "noted",
                };
                self.finish(db, id, Some(tenant.id), outcome, now).await
            }
            _ => {
                inbox::give(&mut *db, id, tenant.id).await?;
                if !self.timing.debounce.is_zero() {
                    inbox::debounce::put_off(&mut *db, tenant.id, self.timing.debounce).await?;
                }
                Ok("waiting")
            }
        }
    }

    async fn say(
        &self,
        db: &mut PgConnection,
        tenant: TenantId,
        key: String,
        text: String,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let draft = Draft::ours(key, &text);
        outbox::enqueue(db, &self.sealer, tenant, None, &[draft], now).await?;
        Ok(())
    }

    async fn finish(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        tenant: Option<TenantId>,
        outcome: &'static str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        inbox::finish(db, id, tenant, outcome, now).await?;
        Ok(outcome)
    }
}
