//! What a person's commands do, each in the transaction of its own message.
//!
//! A turn is ended by a mark on its row: whoever works on it stops the agent (`worker/exchange/stop`),
//! and the database takes nothing more of it, so that what is said here is true from its commit on.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Routing, command::Command};
use crate::{
    copy,
    id::{InboxId, TenantId},
    inbox,
    outbox::{self, Class, Draft},
    sandbox::row::{self, conversation},
    tenant,
    turn::{self, Trigger},
    whatsapp::outgoing::Outgoing,
};

/// The turns whose end a person can notice.
const ASKED_FOR: [Trigger; 2] = [Trigger::Message, Trigger::Reminder];
const ALL: [Trigger; 3] = [Trigger::Message, Trigger::Reminder, Trigger::Heartbeat];
/// How long the word counts that confirms a deletion or an export: long enough to think, too short to forget what
/// was asked.
const CONFIRM_WITHIN: TimeDelta = TimeDelta::minutes(10);
/// How long our last message may take before a person is erased all the same: WhatsApp may be away,
/// and a send whose outcome is unclear is repeated after 90 s.
const LEAVE_WITHIN: TimeDelta = TimeDelta::minutes(10);
/// How long we try to put an export together and to hand it over before we say that we could not.
const EXPORT_WITHIN: TimeDelta = TimeDelta::hours(1);
/// "Nothing is running" is said at most once in so many seconds.
const SAY_NOTHING_RUNS_EVERY: i64 = 60;

/// How a message ends after which a turn may have to.
pub(super) const ENDS_A_TURN: [&str; 4] = ["stop", "fresh", "opt_out", "delete_confirmed"];

impl Command {
    /// How a message ends that was this.
    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Fresh => "fresh",
            Self::Help => "help",
            Self::OptOut => "opt_out",
            Self::OptIn => "opt_in",
            Self::Delete => "delete_asked",
            Self::Confirm => "delete_confirmed",
            Self::Export => "export_asked",
            Self::ConfirmExport => "export_confirmed",
        }
    }
}

impl Routing {
    /// Does what the message says, and finishes it.
    pub(super) async fn obey(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        tenant: TenantId,
        command: Command,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        self.carry_out(db, id, tenant, command, now).await?;
        self.finish(db, id, Some(tenant), command.outcome(), now)
            .await
    }

    async fn carry_out(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        tenant: TenantId,
        command: Command,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let key = format!("{}/{id}", command.outcome());
        match command {
            Command::Stop if self.stop(db, tenant, now).await? => {
                self.say(db, tenant, key, copy::STOPPED.to_owned(), now)
                    .await
            }
            Command::Stop => {
                // Keyed by time, so that whoever hammers on it is told once.
                let minute = now.timestamp().div_euclid(SAY_NOTHING_RUNS_EVERY);
                let key = format!("nothing-runs/{minute}");
                self.say(db, tenant, key, copy::NOTHING_RUNS.to_owned(), now)
                    .await
            }
            Command::Fresh => {
                // Its answer would belong to the conversation that is left.
                turn::stop::ask(&mut *db, tenant, &ASKED_FOR, now).await?;
                if let Some(sandbox) = row::of(&mut *db, tenant).await? {
                    let (session_no, _) = conversation::session(&mut *db, sandbox).await?;
                    conversation::fresh_session(&mut *db, sandbox, session_no).await?;
                }
                self.say(db, tenant, key, copy::FRESH.to_owned(), now).await
            }
            Command::Help => self.say(db, tenant, key, copy::HELP.to_owned(), now).await,
            Command::OptOut => {
                tenant::leave::opt_out(&mut *db, tenant).await?;
                self.fall_silent(db, tenant, now).await?;
                self.say_last(db, tenant, key, copy::OPTED_OUT, now).await
            }
            Command::OptIn => {
                tenant::leave::opt_in(&mut *db, tenant).await?;
                self.say(db, tenant, key, copy::OPTED_IN.to_owned(), now)
                    .await
            }
            Command::Delete => {
                tenant::leave::ask(&mut *db, tenant, now + CONFIRM_WITHIN).await?;
                self.say(db, tenant, key, copy::confirm_deletion(), now)
                    .await
            }
            Command::Export => {
                tenant::export::ask(&mut *db, tenant, now + CONFIRM_WITHIN).await?;
                self.say(db, tenant, key, copy::confirm_export(), now).await
            }
            Command::ConfirmExport => {
                tenant::export::want(&mut *db, tenant, now + EXPORT_WITHIN, now).await?;
                self.say(db, tenant, key, copy::EXPORTING.to_owned(), now)
                    .await
            }
            Command::Confirm => {
                tenant::leave::leave(&mut *db, tenant, now + LEAVE_WITHIN).await?;
                self.fall_silent(db, tenant, now).await?;
                self.say_last(db, tenant, key, copy::DELETED, now).await
            }
        }
    }

    /// Ends whatever would still be said to somebody who leaves. In this order: a turn that is just
    /// being opened is seen once it has taken what waits.
    async fn fall_silent(
        &self,
        db: &mut PgConnection,
        tenant: TenantId,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        inbox::leave::end_waiting(&mut *db, tenant, "opted_out", now).await?;
        turn::stop::ask(&mut *db, tenant, &ALL, now).await?;
        outbox::leave::discard(&mut *db, tenant, now).await?;
        Ok(())
    }

    async fn say_last(
        &self,
        db: &mut PgConnection,
        tenant: TenantId,
        key: String,
        text: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let draft = Draft {
            key,
            class: Class::Farewell,
            message: Outgoing::text(text),
        };
        outbox::enqueue(db, &self.sealer, tenant, None, &[draft], now).await?;
        Ok(())
    }

    /// Stops what runs. Where nothing does, what is about to begin: a person does not know the
    /// difference. False when there is neither.
    async fn stop(
        &self,
        db: &mut PgConnection,
        tenant: TenantId,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        Ok(turn::stop::ask(&mut *db, tenant, &ASKED_FOR, now).await?
            || inbox::leave::end_waiting(&mut *db, tenant, "stopped", now).await? > 0
            // It was just being opened, and what waited is in it by now.
            || turn::stop::ask(&mut *db, tenant, &ASKED_FOR, now).await?)
    }
}
