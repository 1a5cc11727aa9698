//! Table `reminder`: what is to happen at a time.
//!
//! `route` gives everybody a heartbeat at first contact; `worker/remind` fires what is due into the
//! inbox and advances it in the same transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::{
    id::{ReminderId, TenantId},
    seal::KEY_ID,
};

/// One that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub id: ReminderId,
    pub tenant: TenantId,
    /// With the id it names this firing.
    pub next_at: DateTime<Utc>,
}

/// The next time after `after` at which this one's turn comes. Everybody has a place of their own
/// within the interval, and keeps it, so that not all agents wake at once.
pub fn next_slot(id: ReminderId, every: Duration, after: DateTime<Utc>) -> DateTime<Utc> {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    let place = (id.0.as_u128() % every.unsigned_abs() as u128) as i64;
    let after = after.timestamp_millis();
    let slot = after + every - (after - place).rem_euclid(every);
    DateTime::from_timestamp_millis(slot).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Gives a person their heartbeat; one who has it keeps it.
pub async fn schedule_heartbeat(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    every: Duration,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let id = ReminderId::new();
    sqlx::query!(
        "insert into reminder (id, tenant_id, kind, next_at, key_id, created_at)
         values ($1, $2, 'heartbeat', $3, $4, $5)
         on conflict (tenant_id) where kind = 'heartbeat' do nothing",
        id as ReminderId,
        tenant as TenantId,
        next_slot(id, every, now),
        KEY_ID,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The interval may have become shorter since they were scheduled: nobody waits longer than one.
pub async fn bring_forward(
    db: impl PgExecutor<'_>,
    every: Duration,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let brought = sqlx::query!(
        "update reminder set next_at = $1::timestamptz + random() * $2 * interval '1 s'
         where kind = 'heartbeat' and state = 'active'
           and next_at > $1::timestamptz + $2 * interval '1 s'",
        now,
        every.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(brought.rows_affected())
}

/// What is due, longest overdue first.
pub async fn due(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    limit: i64,
) -> anyhow::Result<Vec<Due>> {
    let due = sqlx::query_as!(
        Due,
        r#"select id as "id: ReminderId", tenant_id as "tenant: TenantId", next_at
         from reminder where state = 'active' and kind = 'heartbeat' and next_at <= $1
         order by next_at limit $2"#,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(due)
}

/// Moves one that is due to its next time. False when somebody else has done so.
pub async fn advance(
    db: impl PgExecutor<'_>,
    due: Due,
    next_at: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let advanced = sqlx::query!(
        "update reminder set next_at = $3 where id = $1 and next_at = $2",
        due.id as ReminderId,
        due.next_at,
        next_at,
    )
    .execute(db)
    .await?;
    Ok(advanced.rows_affected() == 1)
}

/// Deletes what a person who is erased was to be reminded of.
pub async fn erase(db: impl PgExecutor<'_>, tenant: TenantId) -> anyhow::Result<u64> {
    let deleted = sqlx::query!(
        "delete from reminder where tenant_id = $1",
        tenant as TenantId
    )
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use sqlx::PgPool;

    use super::*;
    use crate::{
        line,
        tenant::{self, Status},
        whatsapp::provider::Provider,
    };

    const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    async fn person(db: &PgPool) -> TenantId {
        let line = line::seed(db, Provider::Meta, "1").await.unwrap();
        let made = tenant::create(db, line, Status::Active, chrono_tz::UTC, noon()).await;
        let tenant = made.unwrap().id;
        schedule_heartbeat(db, tenant, HALF_AN_HOUR, noon())
            .await
            .unwrap();
        tenant
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn everybody_has_one_heartbeat_and_each_firing_is_taken_once(db: PgPool) {
        let tenant = person(&db).await;
        schedule_heartbeat(&db, tenant, HALF_AN_HOUR, noon())
            .await
            .unwrap();
        assert_eq!(due(&db, noon(), 10).await.unwrap(), []);

        let later = noon() + TimeDelta::minutes(30);
        let all = due(&db, later, 10).await.unwrap();
        assert_eq!(all.len(), 1, "one each, within the first half hour");
        let next_at = next_slot(all[0].id, HALF_AN_HOUR, later);
        assert!(advance(&db, all[0], next_at).await.unwrap());
        assert!(!advance(&db, all[0], next_at).await.unwrap());
        assert_eq!(due(&db, later, 10).await.unwrap(), []);
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn nobody_waits_longer_than_an_interval_that_was_shortened(db: PgPool) {
        person(&db).await;
        let short = Duration::from_secs(10);
        bring_forward(&db, short, noon()).await.unwrap();
        let soon = noon() + TimeDelta::seconds(10);
        assert_eq!(due(&db, soon, 10).await.unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn a_slot_comes_within_one_interval_and_the_next_one_an_interval_later(
            id: u128, every in 1_000_u64..10_000_000, after in 0_i64..4_000_000_000_000,
        ) {
            let id = ReminderId(uuid::Uuid::from_u128(id));
            let every = Duration::from_millis(every);
            let after = DateTime::from_timestamp_millis(after).unwrap();
            let first = next_slot(id, every, after);
            prop_assert!(after < first && first <= after + every);
            prop_assert_eq!(next_slot(id, every, first), first + every);
        }
    }

    #[test]
    fn a_thousand_people_are_spread_over_the_interval() {
        let every = Duration::from_secs(1800);
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let in_first_third = (0..1_000)
            .map(|_| next_slot(ReminderId(uuid::Uuid::new_v4()), every, now))
            .filter(|at| *at < now + every / 3)
            .count();
        assert!((230..440).contains(&in_first_third), "{in_first_third}");
    }
}
