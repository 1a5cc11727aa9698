//! Who is let in: new people as their line takes them and while there is room, and everybody within
//! their limits.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Routing, command};
use crate::{
    copy,
    id::{InboxId, LineId, TenantId},
    inbox,
    line::{
        self,
        policy::{self, Consent, Notice, Policy, Signup},
    },
    outbox, reminder,
    tenant::{
        self, Tenant,
        allowed::{self, Allowed},
        invite::{self, Invite},
    },
    whatsapp::event::{self, Content, Message},
};

/// Over a limit we say so once in this time.
pub(super) const SAY_EVERY: TimeDelta = TimeDelta::days(1);

/// On what somebody is let in.
#[derive(Default)]
struct Ticket {
    role: Option<String>,
    invite: Option<Invited>,
}

struct Invited {
    invite: Invite,
    /// What the message says beside the code.
    rest: String,
}

impl Routing {
    /// Lets somebody in who is not yet, or asks whether they agree to be, if their line takes them, and then
    /// looks at their message as at anybody's: `None`. Else how the message ends.
    pub(super) async fn admit(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        line: LineId,
        tenant: &Tenant,
        message: &mut Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<&'static str>> {
        let policy = policy::of(&mut *db, line, &self.policy).await?;
        // Before any code is looked at: so many may be guessed as messages may be written.
        if policy.signup == Signup::Invite && self.is_over_limit(db, tenant.id, id, now).await? {
            return Ok(Some("over_limit"));
        }
        let ticket = match self.ticket(db, line, &policy, message, now).await? {
            Ok(ticket) => ticket,
            Err(why) => {
                self.say_once(db, tenant, why, now).await?;
                return Ok(Some("refused"));
            }
        };
        if !self.has_room(db, line, now).await? {
            self.say_once(db, tenant, copy::NO_ROOM, now).await?;
            return Ok(Some("refused"));
        }
        let role = ticket.role.as_deref();
        let mut only_a_code = false;
        if let Some(Invited { invite, rest }) = ticket.invite {
            let taken = invite::take(&mut *db, invite.id, now).await?;
            anyhow::ensure!(taken, "use an invitation that was revoked just now");
            only_a_code = rest.is_empty();
            if !only_a_code {
                self.keep_rest(db, id, &rest).await?;
                message.content = Content::Text(rest);
            }
        }
        match policy.consent {
            Consent::Button => {
                self.ask_consent(db, tenant.id, &policy, role, now).await?;
            }
            Consent::None => {
                let name = message.name.as_ref();
                let name = name.map(|name| self.sealer.seal(name.as_bytes()));
                tenant::let_in(&mut *db, tenant.id, name, role).await?;
                let every = self.timing.heartbeat_every;
                reminder::schedule_heartbeat(&mut *db, tenant.id, every, now).await?;
                let is_answered = !only_a_code && is_question(message);
                self.give_notice(db, tenant.id, &policy, is_answered, now)
                    .await?;
                tracing::info!(tenant.id = %tenant.id, "let somebody new in");
            }
        }
        Ok(only_a_code.then_some("invited"))
    }

    async fn give_notice(
        &self,
        db: &mut PgConnection,
        tenant: TenantId,
        policy: &Policy,
        is_answered: bool,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        if policy.notice == Notice::Off {
            return Ok(());
        }
        let url = policy.policy_url.as_ref();
        let words = copy::notice(policy.operator.as_deref(), url, is_answered);
        let key = outbox::NOTICE.to_owned();
        self.say(db, tenant, key, words, now).await
    }

    /// On what a stranger may come in; else what to tell them.
    async fn ticket(
        &self,
        db: &mut PgConnection,
        line: LineId,
        policy: &Policy,
        message: &Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Result<Ticket, &'static str>> {
        let keys = self.book.keys(&message.sender);
        if let Some(Allowed { role }) = allowed::find(&mut *db, line, &keys).await? {
            return Ok(Ok(Ticket { role, invite: None }));
        }
        if policy.signup == Signup::Closed {
            return Ok(Err(copy::CLOSED));
        }
        // On an open line, too: an old link to it still has its code, and that is not for the agent.
        if let Some(invited) = self.invited(db, line, message, now).await? {
            return Ok(Ok(Ticket {
                role: invited.invite.role.clone(),
                invite: Some(invited),
            }));
        }
        Ok(match policy.signup {
            Signup::Open => Ok(Ticket::default()),
            Signup::Invite | Signup::Closed => Err(copy::BY_INVITATION),
        })
    }

    async fn invited(
        &self,
        db: &mut PgConnection,
        line: LineId,
        message: &Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<Invited>> {
        let Content::Text(text) = &message.content else {
            return Ok(None);
        };
        for found in invite::find(text) {
            let known = invite::look_up(&mut *db, &self.codes, line, &found.code, now).await?;
            if let Some(invite) = known {
                let rest = found.rest;
                return Ok(Some(Invited { invite, rest }));
            }
        }
        Ok(None)
    }

    /// A code or a prefix is not for the agent: what is left is the message from now on, as it is kept.
    pub(super) async fn keep_rest(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        rest: &str,
    ) -> anyhow::Result<()> {
        let body = inbox::body::read(&mut *db, &self.opener, id).await?;
        // One that is too strange to be written anew stays whole: a code is used by now, a prefix only a word.
        if let Some(body) = body.and_then(|body| event::with_text(&body, rest)) {
            inbox::body::write(&mut *db, &self.sealer, id, &body).await?;
        }
        Ok(())
    }

    pub(super) async fn has_room(
        &self,
        db: &mut PgConnection,
        line: LineId,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        let limits = &self.limits;
        Ok(tenant::count(&mut *db).await? < limits.tenants
            && line::admit_signup(db, line, limits.signups_per_hour, limits.signup_burst, now)
                .await?)
    }

    pub(super) async fn is_over_limit(
        &self,
        db: &mut PgConnection,
        tenant: TenantId,
        message: InboxId,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        let recent = inbox::recent(db, tenant, message, now).await?;
        Ok(recent.last_minute >= self.limits.inbound_per_minute
            || recent.last_day >= self.limits.inbound_per_day
            || recent.waiting >= self.limits.waiting)
    }

    /// Says that a limit is reached, at most once a day.
    pub(super) async fn say_once(
        &self,
        db: &mut PgConnection,
        tenant: &Tenant,
        text: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        if tenant.told_at.is_some_and(|told| told > now - SAY_EVERY) {
            return Ok(());
        }
        tenant::told(&mut *db, tenant.id, now).await?;
        let key = format!("limit/{}", now.timestamp());
        self.say(db, tenant.id, key, text.to_owned(), now).await
    }
}

/// Whether their assistant will answer it.
fn is_question(message: &Message) -> bool {
    let calls_for_none = matches!(
        message.content,
        Content::Other(_)
            | Content::Empty
            | Content::Deletion { .. }
            | Content::Reaction { emoji: None, .. }
    );
    !calls_for_none && command::read(message).is_none()
}
