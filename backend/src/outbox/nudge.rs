//! Who is to be told by a template that something is held for them. Called by `worker/send`, once a second;
//! `worker/remind` asks whether it is worth having an agent speak.

use anyhow::Context;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use super::{Class, Draft, HELD_FOR};
use crate::{
    id::{LineId, TenantId},
    whatsapp::outgoing::Outgoing,
};

/// Between two: each costs money, and who gets too many of them blocks us.
const EVERY: TimeDelta = TimeDelta::hours(24);
/// Somebody who wrote nothing after so many does not want to.
pub const MAX_IN_A_ROW: i64 = 3;

/// Somebody for whom something is held, of which no template told yet.
pub struct Waiting {
    pub tenant: TenantId,
    pub line: LineId,
    pub language: String,
    pub time_zone: String,
    pub quiet_from: NaiveTime,
    pub quiet_to: NaiveTime,
    last_inbound_at: DateTime<Utc>,
    /// Templates since they last wrote, an operator's as well.
    sent: i64,
}

impl Waiting {
    /// One of a kind in this silence of theirs, whatever restarts meanwhile.
    pub fn draft(&self, name: String, language: String) -> Draft {
        let since = self.last_inbound_at.timestamp();
        Draft {
            key: format!("nudge/{since}/{}", self.sent + 1),
            class: Class::Ours,
            message: Outgoing::Template { name, language },
        }
    }
}

/// What is held is what WhatsApp would not take: nothing else says more surely that the window is closed. Not
/// the frozen, suspended, or those who left; not whom we never heard of; not groups, where each of many would
/// be told.
pub async fn waiting(
    db: impl PgExecutor<'_>,
    lines: &[LineId],
    now: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"with person as (
               select distinct tenant_id as id from outbox where state = 'held'
           )
           select t.id as "tenant: TenantId", t.line_id as "line: LineId", t.language, t.time_zone,
                  t.quiet_from, t.quiet_to, t.last_inbound_at as "last_inbound_at!",
                  nudges.sent as "sent!"
           from person p join tenant t on t.id = p.id,
                lateral (
                    select count(*) as sent, max(n.created_at) as latest from outbox n
                    where n.tenant_id = t.id and n.type = 'template'
                      and n.created_at > t.last_inbound_at) as nudges
           where t.status = 'active' and t.line_id = any($1) and t.last_inbound_at is not null
             and not exists (select from frozen_tenant f where f.tenant_id = t.id)
             and not exists (select from tenant_address a where a.tenant_id = t.id and a.kind = 'group')
             and nudges.sent < $2 and coalesce(nudges.latest, '-infinity') <= $3
             and exists (
                 select from outbox h where h.tenant_id = t.id and h.state = 'held'
                 and h.expires_at > coalesce(nudges.latest, '-infinity') + $4 * interval '1 s')
           order by t.id limit $5"#,
        lines as &[LineId],
        MAX_IN_A_ROW,
        now - EVERY,
        HELD_FOR.as_seconds_f64(),
        limit,
    )
    .fetch_all(db)
    .await
    .context("look for whom something is held")
}

/// How many templates somebody got since they last wrote.
pub async fn in_a_row(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "sent!" from outbox n join tenant t on t.id = n.tenant_id
           where n.tenant_id = $1 and n.type = 'template' and n.created_at > t.last_inbound_at"#,
        tenant as TenantId,
    )
    .fetch_one(db)
    .await
    .context("count the templates that somebody got")
}
