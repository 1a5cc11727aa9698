//! Who may write: everybody, who has a code, or who is on a list; and what new people hear first.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgPool;

use super::{
    desk::Desk,
    support::{LIMITS, NUMBER, Site, master, noon, opener, sealer, text, webhook},
};
use crate::{
    copy,
    id::{InviteId, LineId, TenantId},
    line::policy::{self, Notice, Own, Policy, Signup},
    tenant::{
        self,
        address::AddressBook,
        allowed,
        invite::{self, Codes, Wanted},
    },
    whatsapp::event::{self, Content, InboundEvent, Sender},
    worker::Progress,
};

const CODE: &str = "K7QM2XPR4T";

async fn line(db: &PgPool) -> LineId {
    let line = sqlx::query_scalar!(r#"select id as "id: LineId" from line"#);
    line.fetch_one(db).await.unwrap()
}

/// A desk that takes new people so.
async fn desk(db: &PgPool, signup: Signup) -> Desk {
    let mut desk = Desk::new(db, LIMITS).await;
    desk.routing.policy.signup = signup;
    desk
}

async fn invites(db: &PgPool, uses: i32, role: Option<&str>) -> InviteId {
    let wanted = Wanted {
        code: CODE,
        line: None,
        role,
        uses,
        valid_until: noon() + TimeDelta::days(7),
    };
    let codes = Codes::new(&master());
    invite::create(db, &codes, &wanted, noon()).await.unwrap()
}

async fn uses_left(db: &PgPool) -> i32 {
    let left = sqlx::query_scalar!("select uses_left from invite");
    left.fetch_one(db).await.unwrap()
}

/// What waits for a turn, as the agent will read it.
async fn asked(db: &PgPool) -> Vec<String> {
    let bodies = sqlx::query_scalar!(
        r#"select body as "body!" from inbox where done_at is null and tenant_id is not null order by id"#
    );
    let bodies = bodies.fetch_all(db).await.unwrap();
    let read =
        bodies.iter().map(
            |body| match event::parse("message", &opener().open(body).unwrap()) {
                InboundEvent::Message(message) => match message.content {
                    Content::Text(text) => text,
                    other => panic!("{other:?} is no text"),
                },
                other => panic!("{other:?} is no message"),
            },
        );
    read.collect()
}

async fn role(db: &PgPool) -> Option<String> {
    let role = sqlx::query_scalar!("select role from tenant");
    role.fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_closed_line_tells_strangers_once_a_day_and_serves_those_who_are_there(db: PgPool) {
    let mut desk = desk(&db, Signup::Open).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    desk.routing.policy.signup = Signup::Closed;
    invites(&db, 1, None).await;
    let mut stranger = text("wamid.2", CODE);
    stranger["from"] = json!("16505550000");
    stranger["from_user_id"] = json!("US.2");
    desk.receive(&[stranger.clone()]).await;
    stranger["id"] = json!("wamid.3");
    desk.receive(&[stranger.clone()]).await;
    assert_eq!(desk.said().await, [copy::CLOSED], "a code opens nothing");
    desk.routing.clock.advance(TimeDelta::hours(25));
    stranger["id"] = json!("wamid.4");
    desk.receive(&[stranger]).await;
    assert_eq!(desk.said().await, [copy::CLOSED, copy::CLOSED]);
    desk.receive(&[text("wamid.5", "still there?")]).await;
    assert_eq!(asked(&db).await, ["hello", "still there?"]);
    assert_eq!((desk.tenants("active").await, uses_left(&db).await), (1, 1));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_code_lets_in_once_for_each_use_and_the_rest_is_the_question(db: PgPool) {
    let desk = desk(&db, Signup::Invite).await;
    invites(&db, 1, Some("guest")).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    assert_eq!(desk.said().await, [copy::BY_INVITATION]);
    assert_eq!(desk.tenants("active").await, 0);
    desk.receive(&[text("wamid.2", "k7qm2-xpr4t: what can you do?")])
        .await;
    assert_eq!(
        asked(&db).await,
        ["what can you do?"],
        "the code is cut off"
    );
    assert_eq!(role(&db).await.as_deref(), Some("guest"));
    assert_eq!(uses_left(&db).await, 0);
    desk.receive(&[text("wamid.3", "and K7QM2XPR4T again")])
        .await;
    assert_eq!(
        asked(&db).await[1],
        "and K7QM2XPR4T again",
        "who is in says what they like"
    );

    let mut second = text("wamid.4", CODE);
    second["from"] = json!("16505550000");
    second["from_user_id"] = json!("US.2");
    desk.receive(&[second]).await;
    assert_eq!(desk.tenants("active").await, 1, "it is used up");
    assert_eq!(desk.said().await.len(), 2);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_code_alone_asks_nothing(db: PgPool) {
    let desk = desk(&db, Signup::Invite).await;
    invites(&db, 5, None).await;
    desk.receive(&[text("wamid.1", "K7QM2-XPR4T")]).await;
    assert_eq!(desk.tenants("active").await, 1);
    assert!(asked(&db).await.is_empty());
    assert_eq!(desk.outcomes().await, [("invited".to_owned(), 1)]);
    desk.receive(&[text("wamid.2", "hello")]).await;
    assert_eq!(
        (asked(&db).await, uses_left(&db).await),
        (vec!["hello".to_owned()], 4)
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn neither_revoked_nor_late_nor_other_lines_codes_let_anybody_in(db: PgPool) {
    let desk = desk(&db, Signup::Invite).await;
    let id = invites(&db, 5, None).await;
    assert_eq!(invite::revoke(&db, id, noon()).await.unwrap(), Some(true));
    desk.receive(&[text("wamid.1", CODE)]).await;
    sqlx::query!(
        "update invite set revoked_at = null, valid_until = $1",
        noon()
    )
    .execute(&db)
    .await
    .unwrap();
    desk.receive(&[text("wamid.2", CODE)]).await;
    let elsewhere = crate::line::seed(&db, crate::whatsapp::provider::Provider::Meta, "999");
    sqlx::query!(
        "update invite set valid_until = 'infinity', line_id = $1",
        elsewhere.await.unwrap() as LineId
    )
    .execute(&db)
    .await
    .unwrap();
    desk.receive(&[text("wamid.3", CODE)]).await;
    assert_eq!((desk.tenants("active").await, uses_left(&db).await), (0, 5));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn guessing_ends_where_writing_too_much_does(db: PgPool) {
    let desk = desk(&db, Signup::Invite).await;
    invites(&db, 5, None).await;
    let guesses: Vec<_> = (0..10)
        .map(|n| {
            text(
                &format!("wamid.{n}"),
                &format!("K7QM2XPR{}{}", n % 8 + 2, n % 7 + 2),
            )
        })
        .collect();
    desk.receive(&guesses).await;
    desk.receive(&[text("wamid.right", CODE)]).await;
    assert_eq!(desk.tenants("active").await, 0, "the eleventh in a minute");
    desk.routing.clock.advance(TimeDelta::minutes(2));
    desk.receive(&[text("wamid.later", CODE)]).await;
    assert_eq!(desk.tenants("active").await, 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn of_a_crowd_with_one_code_as_many_come_in_as_it_is_for(db: PgPool) {
    let id = {
        desk(&db, Signup::Invite).await;
        invites(&db, 3, None).await
    };
    let race = (0..20).map(|_| invite::take(&db, id, noon()));
    let taken = futures_util::future::try_join_all(race).await.unwrap();
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 3);
    assert_eq!(uses_left(&db).await, 0);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_full_house_uses_up_no_code(db: PgPool) {
    let mut desk = desk(&db, Signup::Invite).await;
    desk.routing.limits.tenants = 0;
    invites(&db, 1, None).await;
    desk.receive(&[text("wamid.1", CODE)]).await;
    assert_eq!(desk.said().await, [copy::NO_ROOM]);
    assert_eq!(uses_left(&db).await, 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_is_on_the_list_comes_in_where_nobody_does(db: PgPool) {
    let desk = desk(&db, Signup::Closed).await;
    let sender = Sender {
        phone: Some("16505551234".to_owned()),
        ..Sender::default()
    };
    let book = AddressBook::new(&master(), sealer());
    let entry = || book.entries(&sender).remove(0);
    let line = line(&db).await;
    let put = allowed::put(&db, line, entry(), Some("family"), noon());
    assert!(put.await.unwrap());
    desk.receive(&[text("wamid.1", "hello")]).await;
    assert_eq!(asked(&db).await, ["hello"]);
    assert_eq!(role(&db).await.as_deref(), Some("family"));
    assert!(allowed::remove(&db, line, &entry()).await.unwrap());
    desk.receive(&[text("wamid.2", "and now?")]).await;
    assert_eq!(asked(&db).await.len(), 2, "who is in stays in");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_set_for_a_line_counts_at_once_and_before_the_environment(db: PgPool) {
    let desk = desk(&db, Signup::Open).await;
    let own = Own {
        signup: Some(Signup::Closed),
        ..Own::default()
    };
    policy::set(&db, line(&db).await, &own).await.unwrap();
    desk.receive(&[text("wamid.1", "hello")]).await;
    assert_eq!(desk.said().await, [copy::CLOSED]);
    policy::set(&db, line(&db).await, &Own::default())
        .await
        .unwrap();
    desk.receive(&[text("wamid.2", "hello")]).await;
    assert_eq!(asked(&db).await, ["hello"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_policy_that_nobody_can_read_loses_no_message(db: PgPool) {
    let desk = desk(&db, Signup::Open).await;
    sqlx::query!(r#"update line set policy = '{"sign_up": "open"}'"#)
        .execute(&db)
        .await
        .unwrap();
    desk.receive(&[text("wamid.1", "hello")]).await;
    assert!(asked(&db).await.is_empty());
    policy::set(&db, line(&db).await, &Own::default())
        .await
        .unwrap();
    desk.routing.clock.advance(TimeDelta::minutes(2));
    desk.routing.step().await.unwrap();
    assert_eq!(asked(&db).await, ["hello"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn new_people_hear_once_with_whom_they_speak(db: PgPool) {
    let mut desk = desk(&db, Signup::Open).await;
    desk.routing.policy = Policy {
        notice: Notice::On,
        operator: Some("Example Ltd".to_owned()),
        policy_url: Some("https://example.org/privacy".parse().unwrap()),
        ..desk.routing.policy.clone()
    };
    desk.receive(&[text("wamid.1", "hello"), text("wamid.2", "are you there?")])
        .await;
    let said = desk.said().await;
    assert_eq!(said.len(), 1, "{said:?}");
    for part in [
        "AI",
        "Example Ltd",
        "https://example.org/privacy",
        "/help",
        "STOP",
        "follows",
    ] {
        assert!(said[0].contains(part), "{part} is missing in: {}", said[0]);
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_notice_promises_an_answer_only_where_one_follows(db: PgPool) {
    let mut desk = desk(&db, Signup::Open).await;
    desk.routing.policy.notice = Notice::On;
    desk.receive(&[text("wamid.1", "/help")]).await;
    let said = desk.said().await;
    assert_eq!(said[0], copy::notice(None, None, false));
    assert_eq!(said[1], copy::HELP);
    assert!(!said[0].contains("follows"), "{}", said[0]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn of_somebody_who_is_not_let_in_no_name_is_kept(db: PgPool) {
    let mut desk = desk(&db, Signup::Closed).await;
    let named = |id: &str| {
        let body = webhook(&[text(id, "hello")]);
        let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["entry"][0]["changes"][0]["value"]["contacts"] = json!([
            { "profile": { "name": "Anna" }, "wa_id": "16505551234", "user_id": "US.1349" }]);
        assert_eq!(
            body["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"],
            NUMBER
        );
        serde_json::to_vec(&body).unwrap()
    };
    let name = async || {
        let id = sqlx::query_scalar!(r#"select id as "id: TenantId" from tenant"#);
        let id = id.fetch_one(&db).await.unwrap();
        tenant::name(&db, id).await.unwrap()
    };
    assert_eq!(desk.site.receive(named("wamid.1")).await, 200);
    desk.routing.step().await.unwrap();
    assert_eq!(name().await, None);
    desk.routing.policy.signup = Signup::Open;
    assert_eq!(desk.site.receive(named("wamid.2")).await, 200);
    desk.routing.step().await.unwrap();
    let sealed = name().await.unwrap();
    assert_eq!(opener().open(&sealed).unwrap(), b"Anna");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn however_many_webs_take_their_messages_a_person_has_one_limit(db: PgPool) {
    let desk = desk(&db, Signup::Open).await;
    let webs = [&desk.site, &Site::start(&db).await];
    for number in 0..16 {
        let message = text(&format!("wamid.{number}"), "hello");
        let taken = webs[number % 2].receive(webhook(&[message])).await;
        assert_eq!(taken, 200);
    }
    while desk.routing.step().await.unwrap() == Progress::Worked {}
    let expected = [("over_limit".to_owned(), 6), ("waiting".to_owned(), 10)];
    assert_eq!(desk.outcomes().await, expected);
    assert_eq!(desk.said().await, [copy::SLOW_DOWN]);
}
