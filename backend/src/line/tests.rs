//! Blocks end, signups are admitted evenly, and a line is found again.

use sqlx::PgPool;

use super::*;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn seeding_again_finds_the_same_line_and_leaves_its_block(db: PgPool) {
    let line = seed(&db, Provider::Meta, "1").await.unwrap();
    block_until(&db, line, Until::Unblocked, "190", noon())
        .await
        .unwrap();
    assert_eq!(seed(&db, Provider::Meta, "1").await.unwrap(), line);
    assert!(is_blocked(&db, line, noon()).await.unwrap());
    assert_ne!(seed(&db, Provider::Meta, "2").await.unwrap(), line);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_block_ends_by_time_or_by_hand_and_is_news_once(db: PgPool) {
    let line = seed(&db, Provider::Meta, "1").await.unwrap();
    let soon = noon() + TimeDelta::seconds(5);
    assert!(
        block_until(&db, line, Until::At(soon), "130429", noon())
            .await
            .unwrap()
    );
    assert!(
        !block_until(&db, line, Until::At(soon), "130429", noon())
            .await
            .unwrap()
    );
    assert!(is_blocked(&db, line, noon()).await.unwrap());
    assert!(!is_blocked(&db, line, soon).await.unwrap());

    assert!(
        block_until(&db, line, Until::Unblocked, "190", noon())
            .await
            .unwrap()
    );
    assert!(
        !block_until(&db, line, Until::Unblocked, "190", noon())
            .await
            .unwrap()
    );
    assert!(
        !block_until(&db, line, Until::At(soon), "130429", noon())
            .await
            .unwrap()
    );
    assert!(
        is_blocked(&db, line, noon() + TimeDelta::days(999))
            .await
            .unwrap()
    );
    unblock(&db, line).await.unwrap();
    assert!(!is_blocked(&db, line, noon()).await.unwrap());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn signups_pass_in_a_burst_and_then_one_by_one(db: PgPool) {
    let line = seed(&db, Provider::Meta, "1").await.unwrap();
    let admit = |now| admit_signup(&db, line, 20, 5, now);
    let mut admitted = 0;
    for _ in 0..20 {
        admitted += i32::from(admit(noon()).await.unwrap());
    }
    assert_eq!(admitted, 5);
    assert!(!admit(noon() + TimeDelta::seconds(179)).await.unwrap());
    assert!(admit(noon() + TimeDelta::seconds(180)).await.unwrap());
    assert!(!admit(noon() + TimeDelta::seconds(180)).await.unwrap());
    let later = noon() + TimeDelta::hours(3);
    for _ in 0..5 {
        assert!(admit(later).await.unwrap());
    }
    assert!(
        !admit(later).await.unwrap(),
        "quiet hours do not add up to a bigger burst"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_limit_of_nothing_admits_nobody_and_a_huge_one_everybody(db: PgPool) {
    let line = seed(&db, Provider::Meta, "1").await.unwrap();
    assert!(!admit_signup(&db, line, 0, 5, noon()).await.unwrap());
    assert!(!admit_signup(&db, line, 5, 0, noon()).await.unwrap());
    let most = 1_000_000_000_000;
    assert!(admit_signup(&db, line, most, most, noon()).await.unwrap());
    assert!(admit_signup(&db, line, 1, most, noon()).await.unwrap());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn signups_that_race_do_not_pass_together(db: PgPool) {
    let line = seed(&db, Provider::Meta, "1").await.unwrap();
    let race = (0..20).map(|_| admit_signup(&db, line, 20, 5, noon()));
    let admitted = futures_util::future::try_join_all(race).await.unwrap();
    assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 5);
}
