//! People who are asked first: until they agree, what they write waits unread and nothing is made for them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Routing, admit::SAY_EVERY, command};
use crate::{
    copy,
    id::{InboxId, LineId, TenantId},
    inbox,
    line::policy::{self, Policy},
    outbox::{self, Class, Draft},
    reminder,
    tenant::{self, Tenant, consent},
    whatsapp::{
        content::Forwarded,
        event::{Content, Message},
        outgoing::Outgoing,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Agrees,
    Declines,
}

/// A tap on one of the two buttons, or their words and nothing else.
fn read(message: &Message) -> Option<Decision> {
    let words = match &message.content {
        Content::Choice { title, .. } => title,
        Content::Text(text) if message.around.forwarded == Forwarded::No => text,
        _ => return None,
    };
    let words = words.trim().trim_end_matches(['.', '!']).to_lowercase();
    let is = |button: &str| words == button.to_lowercase();
    match words.as_str() {
        _ if is(copy::AGREE) => Some(Decision::Agrees),
        _ if is(copy::DECLINE) => Some(Decision::Declines),
        _ => None,
    }
}

impl Routing {
    /// What somebody says who was asked. `None`: it waits until they agree, or is a command.
    pub(super) async fn hear_decision(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        line: LineId,
        tenant: &Tenant,
        message: &Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<&'static str>> {
        match read(message) {
            Some(Decision::Agrees) => self.agree(db, id, tenant, message, now).await.map(Some),
            Some(Decision::Declines) => {
                inbox::leave::withdraw(&mut *db, tenant.id, now).await?;
                consent::decline(&mut *db, tenant.id, now).await?;
                // Who hammers on the button is told once a day.
                let key = format!("declined/{}", now.date_naive());
                self.say(db, tenant.id, key, copy::DECLINED.to_owned(), now)
                    .await?;
                Ok(Some("declined"))
            }
            None if command::read(message).is_some() => Ok(None),
            None => {
                let asked_lately = tenant.told_at.is_some_and(|told| told > now - SAY_EVERY);
                if !asked_lately {
                    let policy = policy::of(&mut *db, line, &self.policy).await?;
                    self.ask_consent(db, tenant.id, &policy, None, now).await?;
                } else if tenant.declined {
                    // They said no, so it is not even kept.
                    inbox::body::clear(&mut *db, id).await?;
                    return Ok(Some("declined"));
                }
                Ok(None)
            }
        }
    }

    async fn agree(
        &self,
        db: &mut PgConnection,
        id: InboxId,
        tenant: &Tenant,
        message: &Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<&'static str> {
        // They were counted among those who come in an hour when they were asked.
        if tenant::count(&mut *db).await? >= self.limits.tenants {
            self.say_once(db, tenant, copy::NO_ROOM, now).await?;
            return Ok("refused");
        }
        let name = message.name.as_ref();
        let name = name.map(|name| self.sealer.seal(name.as_bytes()));
        consent::give(&mut *db, tenant.id, name, now).await?;
        let every = self.timing.heartbeat_every;
        reminder::schedule_heartbeat(&mut *db, tenant.id, every, now).await?;
        if inbox::recent(&mut *db, tenant.id, id, now).await?.waiting == 0 {
            let key = format!("agreed/{}", now.timestamp());
            self.say(db, tenant.id, key, copy::AGREED.to_owned(), now)
                .await?;
        }
        tracing::info!(tenant.id = %tenant.id, "somebody new agrees");
        Ok("agreed")
    }

    /// Asks, with who asks and what for. Without a role they have the default, should they agree.
    pub(super) async fn ask_consent(
        &self,
        db: &mut PgConnection,
        tenant: TenantId,
        policy: &Policy,
        role: Option<&str>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        consent::ask(&mut *db, tenant, role, now).await?;
        let url = policy.policy_url.as_ref();
        let draft = Draft {
            key: format!("consent/{}", now.timestamp()),
            class: Class::Ours,
            message: Outgoing::Buttons {
                body: copy::ask_consent(policy.operator.as_deref(), url),
                titles: vec![copy::AGREE.to_owned(), copy::DECLINE.to_owned()],
            },
        };
        outbox::enqueue(db, &self.sealer, tenant, None, &[draft], now).await?;
        Ok(())
    }
}
