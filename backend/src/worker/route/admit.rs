//! Who is let in: new people while there is room, and everybody within their limits.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::Routing;
use crate::{
    id::{InboxId, LineId, TenantId},
    inbox, line, reminder,
    tenant::{self, Status, Tenant},
    whatsapp::event::Message,
};

/// Over a limit we say so once in this time.
const SAY_EVERY: TimeDelta = TimeDelta::days(1);

impl Routing {
    /// Makes a row for somebody new: active while there is room, else refused.
    pub(super) async fn welcome(
        &self,
        db: &mut PgConnection,
        line: LineId,
        message: &Message,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Tenant> {
        let status = if self.has_room(db, line, now).await? {
            Status::Active
        } else {
            Status::Refused
        };
        let name = message
            .name
            .as_ref()
            .map(|name| self.sealer.seal(name.as_bytes()));
        let zone = self.timing.time_zone;
        let tenant = tenant::create(&mut *db, line, status, name, zone, now).await?;
        reminder::schedule_heartbeat(&mut *db, tenant.id, self.timing.heartbeat_every, now).await?;
        tracing::info!(tenant.id = %tenant.id, ?status, "somebody new wrote");
        Ok(tenant)
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
