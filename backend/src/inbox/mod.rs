//! Table `inbox`: every update a provider sent us, stored before we answer 200.
//!
//! `web` inserts, `worker/route` gives each row an owner or finishes it, `worker/deliver` takes
//! what waits for a person into a turn and finishes it with the turn.

pub mod body;
pub mod debounce;
pub mod figures;
pub mod forget;
pub mod leave;
mod look;
mod recent;

pub use look::{by_wamid, noted};
pub use recent::recent;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::{
    id::{InboxId, LineId, TenantId, TurnId},
    seal::{KEY_ID, Sealer},
    turn::Trigger,
    whatsapp::{provider::Provider, update::Update},
};

/// A row that nobody has looked at yet.
pub struct Unrouted {
    pub id: InboxId,
    pub line: Option<LineId>,
    pub kind: String,
    pub body: Vec<u8>,
}

/// An update that only the worker can read any more.
pub struct Sealed {
    provider: Provider,
    update: Update,
}

impl Sealed {
    pub fn new(sealer: &Sealer, provider: Provider, mut update: Update) -> Self {
        update.body = sealer.seal(&update.body);
        Self { provider, update }
    }

    pub fn bytes(&self) -> usize {
        self.update.body.len()
    }
}

/// Stores what webhooks brought in one round trip. Repeats are no-ops.
/// Returns how many updates were new.
pub async fn accept(
    db: impl PgExecutor<'_>,
    updates: &[&Sealed],
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    // The ids keep the order of arrival. The rows go in by their keys: two transactions that bring
    // the same ones wait for each other, and never crosswise.
    let mut rows: Vec<_> = updates.iter().map(|one| (InboxId::new().0, *one)).collect();
    rows.sort_by_key(|(_, Sealed { provider, update })| {
        let line = (provider.as_str(), &update.phone_number_id);
        (line, update.kind.as_str(), &update.provider_id)
    });
    let (ids, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let column =
        |of: fn(&Sealed) -> &str| -> Vec<_> { rows.iter().map(|row| of(row).to_owned()).collect() };
    let providers = column(|row| row.provider.as_str());
    let kinds = column(|row| row.update.kind.as_str());
    let provider_ids = column(|row| &row.update.provider_id);
    let updates = rows.iter().map(|row| &row.update);
    let numbers: Vec<_> = updates
        .clone()
        .map(|one| one.phone_number_id.clone())
        .collect();
    let provider_ats: Vec<_> = updates.clone().map(|one| one.provider_at).collect();
    let bodies: Vec<_> = updates.map(|one| one.body.clone()).collect();
    // Only the name of the line is looked up here; whether it is ours is the worker's business.
    let inserted = sqlx::query!(
        "insert into inbox (id, line_id, kind, provider_id, provider_at, received_at, body, key_id, run_after)
         select u.id, line.id, u.kind, u.provider_id, u.provider_at, $7, u.body, $8, $7
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[],
                     $9::text[]) as u (id, number, kind, provider_id, provider_at, body, provider)
         left join line on line.provider = u.provider and line.phone_number_id = u.number
           and line.removed_at is null
         on conflict on constraint inbox_once do nothing",
        &ids,
        &numbers as &[Option<String>],
        &kinds,
        &provider_ids,
        &provider_ats as &[Option<DateTime<Utc>>],
        &bodies,
        now,
        KEY_ID,
        &providers,
    )
    .execute(db)
    .await?;
    Ok(inserted.rows_affected())
}

/// The oldest rows without an owner. One worker routes, so no lock is taken.
pub async fn unrouted(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<Vec<Unrouted>> {
    let rows = sqlx::query!(
        r#"select i.id as "id: InboxId", line.id as "line?: LineId", i.kind, i.body
         from inbox i
         left join line on line.id = i.line_id and line.removed_at is null
         where i.done_at is null and i.tenant_id is null and i.run_after <= $1
         order by i.id
         limit $2"#,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unrouted {
            id: row.id,
            line: row.line,
            kind: row.kind,
            body: row.body.unwrap_or_default(),
        })
        .collect())
}

/// Gives a row to a person; it now waits for a turn.
pub async fn give(db: impl PgExecutor<'_>, id: InboxId, tenant: TenantId) -> anyhow::Result<()> {
    sqlx::query!(
        "update inbox set tenant_id = $2 where id = $1",
        id as InboxId,
        tenant as TenantId
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Finishes a row that needs no turn.
pub async fn finish(
    db: impl PgExecutor<'_>,
    id: InboxId,
    tenant: Option<TenantId>,
    outcome: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update inbox set tenant_id = $2, outcome = $3, done_at = $4 where id = $1",
        id as InboxId,
        tenant as Option<TenantId>,
        outcome,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Puts a row that could not be routed aside, so that the ones behind it go on.
pub async fn put_off(
    db: impl PgExecutor<'_>,
    id: InboxId,
    until: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update inbox set run_after = $2 where id = $1",
        id as InboxId,
        until
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes back a message that waits for its turn. False when it does not wait any more.
pub async fn take_back(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    wamid: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let taken = sqlx::query!(
        "update inbox set done_at = $3, outcome = 'taken_back'
         where tenant_id = $1 and kind = 'message' and provider_id = $2
           and turn_id is null and done_at is null",
        tenant as TenantId,
        wamid,
        now,
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// People with something waiting, longest first, but for those who are `busy` already, frozen,
/// suspended, opted out, have not agreed yet, or are on a line that was removed.
pub async fn waiting_tenants(
    db: impl PgExecutor<'_>,
    busy: &[TenantId],
    now: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<Vec<TenantId>> {
    let busy: Vec<_> = busy.iter().map(|tenant| tenant.0).collect();
    let tenants = sqlx::query_scalar!(
        r#"select tenant_id as "tenant!: TenantId"
         from (
             select distinct on (tenant_id) tenant_id, id
             from inbox
             where done_at is null and tenant_id is not null and turn_id is null
               and run_after <= $1 and tenant_id <> all($2)
             order by tenant_id, id) as first
         where not exists (select from frozen_tenant f where f.tenant_id = first.tenant_id)
           and not exists (
               select from tenant t join line l on l.id = t.line_id
               where t.id = first.tenant_id
                 and (t.status in ('suspended', 'opted_out', 'undecided') or l.removed_at is not null))
         order by id
         limit $3"#,
        now,
        &busy,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(tenants)
}

/// What the person's next turn is about. Their own messages go before everything else.
pub async fn what_waits(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Trigger>> {
    let first = sqlx::query_scalar!(
        r#"select kind as "trigger: Trigger" from inbox
         where tenant_id = $1 and turn_id is null and done_at is null and run_after <= $2
           and kind in ('message', 'reminder', 'heartbeat')
         order by array_position(array['message', 'reminder', 'heartbeat'], kind) limit 1"#,
        tenant as TenantId,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(first)
}

/// Takes everything of a kind that waits for a person into a turn; with messages also what was only
/// noted, whenever it came, so that it is told once. A heartbeat that waits beside them has lost its
/// purpose: the agent hears from the person anyway.
pub async fn take(
    conn: &mut PgConnection,
    tenant: TenantId,
    turn: TurnId,
    trigger: Trigger,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let taken = sqlx::query!(
        "update inbox set turn_id = $2
         where tenant_id = $1 and turn_id is null and done_at is null and run_after <= $3
           and kind = $4",
        tenant as TenantId,
        turn as TurnId,
        now,
        trigger as Trigger,
    )
    .execute(&mut *conn)
    .await?;
    if trigger == Trigger::Message {
        // Not by when it came: a turn may begin between its arrival and its routing.
        sqlx::query!(
            "update inbox set turn_id = $2
             where tenant_id = $1 and turn_id is null and kind = 'message' and outcome = 'noted'",
            tenant as TenantId,
            turn as TurnId,
        )
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query!(
        "update inbox set done_at = $2, outcome = 'superseded'
         where tenant_id = $1 and turn_id is null and done_at is null and kind = 'heartbeat'",
        tenant as TenantId,
        now,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// Puts in what our own clock wants done. The same firing twice is one row.
pub async fn fire(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    trigger: Trigger,
    firing: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into inbox (id, kind, provider_id, received_at, tenant_id, key_id, run_after)
         values ($1, $2, $3, $4, $5, $6, $4)
         on conflict on constraint inbox_once do nothing",
        InboxId::new() as InboxId,
        trigger as Trigger,
        firing,
        now,
        tenant as TenantId,
        KEY_ID,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The sealed bodies of a turn, in the order in which the person wrote them as far as the provider
/// tells, else in order of arrival.
pub async fn of_turn(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    turn: TurnId,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let bodies = sqlx::query_scalar!(
        "select body from inbox
         where tenant_id = $1 and turn_id = $2 and outcome is distinct from 'noted'
         order by coalesce(provider_at, received_at), id",
        tenant as TenantId,
        turn as TurnId,
    )
    .fetch_all(db)
    .await?;
    Ok(bodies.into_iter().flatten().collect())
}

/// Finishes the rows of a turn together with it.
pub async fn finish_turn(
    conn: &mut PgConnection,
    tenant: TenantId,
    turn: TurnId,
    outcome: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update inbox set done_at = $3, outcome = $4
         where tenant_id = $1 and turn_id = $2 and done_at is null",
        tenant as TenantId,
        turn as TurnId,
        now,
        outcome,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Hands what waits for one person to another: they turned out to be the same.
pub async fn hand_over(
    conn: &mut PgConnection,
    from: TenantId,
    to: TenantId,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update inbox set tenant_id = $2
         where tenant_id = $1 and turn_id is null and done_at is null",
        from as TenantId,
        to as TenantId,
    )
    .execute(conn)
    .await?;
    Ok(())
}
