//! Table `tenant`: the people on our lines.

pub mod address;
pub mod allowed;
pub mod blocked;
pub mod consent;
pub mod export;
pub mod invite;
pub mod leave;
pub mod role;
pub mod window;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use sqlx::{PgConnection, PgExecutor};

use crate::{
    id::{LineId, TenantId},
    seal::KEY_ID,
};

/// How a person stands with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    Active,
    Refused,
    /// Asked whether they agree.
    Undecided,
    Suspended,
    OptedOut,
    Erased,
}

#[derive(Clone, Copy, Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub status: Status,
    pub told_at: Option<DateTime<Utc>>,
    /// Until then the word that we asked for deletes all of theirs.
    pub asked_until: Option<DateTime<Utc>>,
    /// Until then the other word has us send them all that we hold of them.
    pub export_asked_until: Option<DateTime<Utc>>,
    /// They are about to be erased.
    pub leaves: bool,
    /// They were asked whether they agree, and do not.
    pub declined: bool,
}

/// What decides whether we may speak to a person unasked.
#[derive(Clone, Debug)]
pub struct Standing {
    pub status: Status,
    pub time_zone: String,
    pub language: String,
    pub quiet_from: NaiveTime,
    pub quiet_to: NaiveTime,
    pub last_inbound_at: Option<DateTime<Utc>>,
    pub has_agenda: bool,
    pub line: LineId,
    /// The number they write to is not ours any more.
    pub line_removed: bool,
}

pub async fn standing(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<Standing> {
    let standing = sqlx::query_as!(
        Standing,
        r#"select status as "status: Status", time_zone, language, quiet_from, quiet_to,
                  last_inbound_at, has_agenda, line_id as "line: LineId", removed_at is not null as "line_removed!"
         from tenant join line on line.id = line_id where tenant.id = $1"#,
        id as TenantId,
    )
    .fetch_one(db)
    .await?;
    Ok(standing)
}

/// Notes whether the agent has anything to look after.
pub async fn set_agenda(
    db: impl PgExecutor<'_>,
    id: TenantId,
    has_agenda: bool,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set has_agenda = $2 where id = $1 and has_agenda <> $2",
        id as TenantId,
        has_agenda,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What a person calls themselves, sealed.
pub async fn name(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<Option<Vec<u8>>> {
    let name = sqlx::query_scalar!("select name from tenant where id = $1", id as TenantId)
        .fetch_one(db)
        .await?;
    Ok(name)
}

/// Makes a person.
pub async fn create(
    db: impl PgExecutor<'_>,
    line: LineId,
    status: Status,
    zone: Tz,
    now: DateTime<Utc>,
) -> anyhow::Result<Tenant> {
    let id = TenantId::new();
    sqlx::query!(
        "insert into tenant (id, line_id, status, key_id, created_at, time_zone)
         values ($1, $2, $3, $4, $5, $6)",
        id as TenantId,
        line as LineId,
        status as Status,
        KEY_ID,
        now,
        zone.name(),
    )
    .execute(db)
    .await?;
    Ok(Tenant {
        id,
        status,
        told_at: None,
        asked_until: None,
        export_asked_until: None,
        leaves: false,
        declined: false,
    })
}

pub async fn find(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<Option<Tenant>> {
    let tenant = sqlx::query_as!(
        Tenant,
        r#"select id as "id: TenantId", status as "status: Status", told_at, asked_until,
                  export_asked_until, leaves_by is not null as "leaves!",
                  consent is not distinct from 'declined' as "declined!"
         from tenant where id = $1"#,
        id as TenantId,
    )
    .fetch_optional(db)
    .await?;
    Ok(tenant)
}

/// The number a person writes to.
pub async fn line(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<Option<LineId>> {
    let line = sqlx::query_scalar!(
        r#"select line_id as "line: LineId" from tenant where id = $1"#,
        id as TenantId,
    )
    .fetch_optional(db)
    .await?;
    Ok(line)
}

/// How many people there are in all, those not counted whom we refused or who have not agreed.
pub async fn count(db: impl PgExecutor<'_>) -> anyhow::Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from tenant where status not in ('refused', 'undecided', 'erased')"#
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}

/// Lets somebody in. The name is what they call themselves, sealed; without a role they have the
/// default.
pub async fn let_in(
    db: impl PgExecutor<'_>,
    id: TenantId,
    name: Option<Vec<u8>>,
    role: Option<&str>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set status = 'active', name = coalesce($2, name), role = coalesce($3, role),
                           key_id = $4
         where id = $1 and status = 'refused'",
        id as TenantId,
        name,
        role,
        KEY_ID,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes the person's own message: it opens WhatsApp's 24-hour window.
pub async fn heard_from(
    db: impl PgExecutor<'_>,
    id: TenantId,
    at: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set last_inbound_at = greatest(last_inbound_at, $2) where id = $1",
        id as TenantId,
        at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that we said that a limit was reached. The next time is a day later.
pub async fn told(db: impl PgExecutor<'_>, id: TenantId, now: DateTime<Utc>) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set told_at = $2 where id = $1",
        id as TenantId,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Two rows turned out to be one person: `newer` is closed and points to `older`, and who has left under
/// one has left, as who has agreed under one has agreed.
pub async fn close_into(
    conn: &mut PgConnection,
    newer: TenantId,
    older: TenantId,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant older set status = 'opted_out', leaves_by = newer.leaves_by
         from tenant newer
         where older.id = $2 and older.status in ('active', 'undecided')
           and newer.id = $1 and newer.status = 'opted_out'",
        newer as TenantId,
        older as TenantId,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update tenant older set status = 'active', consent = newer.consent,
                                 consent_at = newer.consent_at
         from tenant newer
         where older.id = $2 and older.status = 'undecided'
           and newer.id = $1 and newer.status = 'active'",
        newer as TenantId,
        older as TenantId,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update tenant set status = 'erased', merged_into = $2 where id = $1",
        newer as TenantId,
        older as TenantId,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Refuses a person from now on, silently. False when their status is none that can be suspended.
pub async fn suspend(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<bool> {
    let suspended = sqlx::query!(
        "update tenant set status = 'suspended'
         where id = $1 and status in ('active', 'refused', 'undecided')",
        id as TenantId,
    )
    .execute(db)
    .await?;
    Ok(suspended.rows_affected() == 1)
}

/// Lets a suspended person in again. False when they are not suspended.
pub async fn resume(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<bool> {
    let resumed = sqlx::query!(
        "update tenant set status = case when consent in ('asked', 'declined') then 'undecided' else 'active' end
         where id = $1 and status = 'suspended'",
        id as TenantId,
    )
    .execute(db)
    .await?;
    Ok(resumed.rows_affected() == 1)
}

/// What is left of a person is that they were erased, and when they had come. False when they were
/// erased before and nothing names them.
pub async fn erase(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<bool> {
    let erased = sqlx::query!(
        "update tenant set status = 'erased', name = null, role = null, last_inbound_at = null,
             told_at = null, asked_until = null, leaves_by = null, consent = null, consent_at = null,
             export_asked_until = null, export_due = null, export_by = null,
             has_agenda = false, time_zone = 'UTC', language = 'en'
         where id = $1 and (status <> 'erased' or name is not null or last_inbound_at is not null)",
        id as TenantId,
    )
    .execute(db)
    .await?;
    Ok(erased.rows_affected() == 1)
}

/// A person's row and those that were found to be the same person and closed into it.
pub async fn with_merged(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<Vec<TenantId>> {
    let all = sqlx::query_scalar!(
        r#"with recursive same (id) as (
               select id from tenant where id = $1
               union select t.id from tenant t join same on t.merged_into = same.id)
           select id as "id!: TenantId" from same"#,
        id as TenantId,
    )
    .fetch_all(db)
    .await?;
    Ok(all)
}

/// Until the end of the transaction nobody adds anything to these people.
pub async fn lock(db: impl PgExecutor<'_>, ids: &[TenantId]) -> anyhow::Result<()> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    sqlx::query!(
        "select id from tenant where id = any($1) order by id for update",
        &ids
    )
    .fetch_all(db)
    .await?;
    Ok(())
}
