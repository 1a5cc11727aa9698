//! What is said in a group. People there speak to each other: what is not said to us, by our word in front or as
//! an answer to a message of ours, is thrown away as it is read, counts nowhere and is answered by nobody. So is
//! everything in a group that its line does not serve, and there no row is made for anybody.
//!
//! The group is one tenant with one agent, whoever in it speaks. It has no commands, no consent and no
//! heartbeat: none of its members decides for the others, and nobody asked to be spoken to unasked.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Routing;
use crate::{
    copy,
    id::{InboxId, LineId, TenantId},
    inbox,
    line::{
        group,
        policy::{self, Notice, Policy},
        unserved,
    },
    outbox,
    tenant::{self, Status, Tenant, blocked},
    whatsapp::{
        content::Forwarded,
        event::{Content, Message},
    },
};

impl Routing {
    /// How a message of a group ends.
    pub(super) async fn in_group(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        line: LineId,
        message: Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        let policy = policy::of(&mut *db, line, &self.policy).await?;
        let at = message.at.unwrap_or(now).min(now);
        let group = message.sender.group.as_deref();
        if !group.is_some_and(|group| policy.groups.serves(group)) {
            for entry in self.book.entries(&message.sender) {
                unserved::note(&mut *db, line, &entry, at).await?;
            }
            return self.pass_over(db, id, "not_served", now).await;
        }
        let member = self.book.keys(&message.sender.member());
        if blocked::is_blocked(&mut *db, line, &member).await? {
            return self.pass_over(db, id, "refused", now).await;
        }
        let known = self.book.find(db, line, &message.sender).await?;
        let said = said_to_us(&message, &policy.group_prefix).map(str::to_owned);
        match &said {
            Some(rest) => self.keep_rest(db, id, rest).await?,
            None if self.belongs_to_ours(db, known, &message).await? => {}
            None => return self.pass_over(db, id, "not_addressed", now).await,
        }
        let tenant = match known {
            Some(tenant) => tenant::find(&mut *db, tenant).await?,
            None => {
                let zone = self.timing.time_zone;
                Some(tenant::create(&mut *db, line, Status::Refused, zone, now).await?)
            }
        };
        let tenant = tenant.context("find the tenant of an address")?;
        self.book
            .learn(db, line, tenant.id, &message.sender, now)
            .await?;
        match tenant.status {
            Status::Active => {}
            Status::Refused => {
                if !self.let_group_in(db, line, &tenant, &policy, now).await? {
                    tenant::heard_from(&mut *db, tenant.id, at).await?;
                    return self.finish(db, id, Some(tenant.id), "refused", now).await;
                }
            }
            Status::Undecided | Status::OptedOut | Status::Suspended | Status::Erased => {
                return self.pass_over(db, id, "refused", now).await;
            }
        }
        self.take(db, id, &tenant, message, None, now).await
    }

    /// Whether it is about what was said between us: an answer to us, or a change of what somebody said to us.
    async fn belongs_to_ours(
        &self,
        db: &mut PgConnection,
        known: Option<TenantId>,
        message: &Message,
    ) -> anyhow::Result<bool> {
        let Some(group) = known else {
            return Ok(false);
        };
        Ok(match &message.content {
            // People react to everything, and nobody waits for an answer to it.
            Content::Reaction { .. } => false,
            Content::Edit { of: Some(of), .. } | Content::Deletion { of } => {
                inbox::by_wamid(&mut *db, group, of).await?.is_some()
            }
            _ => match &message.around.quotes {
                Some(ours) => outbox::by_wamid(&mut *db, group, ours).await?.is_some(),
                None => false,
            },
        })
    }

    /// On the list it is already. False where there is no room.
    async fn let_group_in(
        &self,
        db: &mut PgConnection,
        line: LineId,
        tenant: &Tenant,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        if !self.has_room(db, line, now).await? {
            self.say_once(db, tenant, copy::NO_ROOM, now).await?;
            return Ok(false);
        }
        // Without a name: the one that came is a member's.
        tenant::let_in(&mut *db, tenant.id, None, None).await?;
        if policy.notice == Notice::On {
            let words = copy::group_notice(
                policy.operator.as_deref(),
                policy.policy_url.as_ref(),
                &policy.group_prefix,
            );
            let key = outbox::NOTICE.to_owned();
            self.say(db, tenant.id, key, words, now).await?;
        }
        tracing::info!(tenant.id = %tenant.id, "let a group in");
        Ok(true)
    }

    /// It is nobody's, and nothing of it stays but that it came.
    async fn pass_over(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        outcome: &'static str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        inbox::body::clear(&mut *db, id).await?;
        self.finish(db, id, None, outcome, now).await
    }
}

/// What it says to us after our word. What is passed on is somebody else's.
fn said_to_us<'a>(message: &'a Message, prefix: &str) -> Option<&'a str> {
    match message.around.forwarded {
        Forwarded::No => group::said_to_us(words(&message.content)?, prefix),
        Forwarded::Once | Forwarded::Often => None,
    }
}

fn words(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text),
        Content::Media(media) => media.caption.as_deref(),
        Content::Edit { now, .. } => words(now),
        _ => None,
    }
}
