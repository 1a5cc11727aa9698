//! What doctor says of work that lies, on the real tables, and how it says it.

use chrono::TimeDelta;
use sqlx::PgPool;

use super::{
    finding::{Verdict, fail, ok, warn},
    kapso, report, work,
};
use crate::{
    freeze::{self, Scope},
    id::{InboxId, LineId, TenantId},
    line::Delivery,
    tests::support::{noon, seed_line},
};

#[test]
fn one_failure_makes_the_exit_code_and_warnings_do_not() {
    let findings = [ok("good").of("a"), warn("soon", "mend it").of("b")];
    assert!(report(&findings).good);
    let findings = [ok("good").of("a"), fail("bad", "mend it").of("b")];
    let answer = report(&findings);
    assert!(!answer.good);
    assert_eq!(answer.json["checks"][1]["code"], "b");
    assert_eq!(answer.json["checks"][1]["result"], "fail");
    assert_eq!(answer.json["checks"][1]["do"], "mend it");
    assert!(answer.text.contains("→ mend it"), "{}", answer.text);
}

#[test]
fn a_line_that_is_not_asked_fails_where_nothing_else_brings_messages() {
    let judge = |delivery, minutes: Option<i64>| {
        let last = minutes.map(|minutes| noon() - TimeDelta::minutes(minutes));
        kapso::judge_polling(delivery, None, last, noon()).verdict
    };
    assert_eq!(judge(Delivery::Poll, Some(1)), Verdict::Ok);
    assert_eq!(judge(Delivery::Poll, Some(6)), Verdict::Fail);
    assert_eq!(judge(Delivery::Webhook, Some(1)), Verdict::Ok);
    assert_eq!(judge(Delivery::Webhook, Some(6)), Verdict::Warn);
    assert_eq!(judge(Delivery::Poll, None), Verdict::Warn);
}

/// A message that came at noon.
async fn message(db: &PgPool, line: LineId, tenant: Option<TenantId>) {
    sqlx::query!(
        "insert into inbox (id, line_id, kind, provider_id, received_at, tenant_id, key_id, run_after)
         values ($1, $2, 'message', $1::uuid::text, $3, $4, 1, $3)",
        InboxId::new() as InboxId,
        line as LineId,
        noon(),
        tenant as Option<TenantId>,
    )
    .execute(db)
    .await
    .unwrap();
}

async fn found(db: &PgPool, after: TimeDelta) -> (Verdict, String) {
    let now = noon() + after;
    let late = work::late(db, now).await.unwrap();
    let found = work::judge_queue(&late, now);
    (found.verdict, found.what)
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_lies_for_a_minute_fails_unless_somebody_has_stopped_it(db: PgPool) {
    let (soon, later) = (TimeDelta::seconds(30), TimeDelta::minutes(3));
    let line = seed_line(&db).await;
    message(&db, line, None).await;
    assert_eq!(found(&db, soon).await.0, Verdict::Ok);
    let (verdict, what) = found(&db, later).await;
    assert_eq!(verdict, Verdict::Fail);
    assert_eq!(
        what,
        "1 messages cannot be routed, the oldest from 3 min ago."
    );

    sqlx::query!("delete from inbox")
        .execute(&db)
        .await
        .unwrap();
    let status = crate::tenant::Status::Active;
    let person = crate::tenant::create(&db, line, status, chrono_tz::UTC, noon())
        .await
        .unwrap();
    message(&db, line, Some(person.id)).await;
    let (verdict, what) = found(&db, later).await;
    assert_eq!(verdict, Verdict::Fail);
    assert!(what.contains("wait for a turn"), "{what}");

    freeze::set(&db, Scope::Everything, "ana", None, noon())
        .await
        .unwrap();
    assert_eq!(
        found(&db, later).await.0,
        Verdict::Ok,
        "it is meant to wait"
    );
}
