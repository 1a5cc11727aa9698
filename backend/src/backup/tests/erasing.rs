//! Who was erased is gone from every table and from the store, and stays gone.

use sqlx::PgPool;

use super::Story;
use crate::{
    MIGRATOR,
    backup::{
        erase::{self, Erased},
        row::Kind,
        tombstone,
        whole::{self, Open},
    },
    id::{ReminderId, TenantId},
    sandbox::tests::tenant,
    tenant::address::AddressBook,
    tests::support::{master, sealer},
    whatsapp::event::Sender,
};

const PHONE: &str = "16505551234";

/// Somebody who has written, with a sandbox that was backed up.
async fn known(story: &Story, n: u128, phone: &str) {
    let db = &story.world.pool;
    let sandbox = story.sleeping(n, "likes tea").await;
    let book = AddressBook::new(&master(), sealer());
    let sender = Sender {
        user_id: Some(format!("US.{phone}")),
        phone: Some(phone.to_owned()),
        ..Sender::default()
    };
    let line = crate::id::LineId(uuid::Uuid::from_u128(1));
    let mut conn = db.acquire().await.unwrap();
    let learned = book
        .learn(&mut conn, line, tenant(n), &sender, story.now())
        .await;
    learned.unwrap();
    drop(conn);
    let id = tenant(n);
    for statement in [
        "update tenant set name = 'sealed', last_inbound_at = now(), created_at = '2020-01-01' where id = $1",
        "insert into inbox (id, line_id, kind, provider_id, received_at, tenant_id, turn_id, body, key_id, run_after)
         select gen_random_uuid(), t.line_id, 'message', t.id::text, now(), t.id, u.id, 'words', 1, now()
         from tenant t join turn u on u.tenant_id = t.id where t.id = $1",
        "insert into outbox (id, tenant_id, turn_id, key, class, type, body, key_id, run_after, created_at, expires_at, wamid)
         select gen_random_uuid(), $1, id, 'k', 'reply', 'text', 'words', 1, now(), now(), now(), 'w' || $1::text
         from turn where tenant_id = $1",
        "insert into receipt (line_id, wamid, status) select line_id, 'w' || id::text, 'sent' from tenant where id = $1",
        "insert into frozen (id, tenant_id, since, actor) values (gen_random_uuid(), $1, now(), 'ana')",
        "insert into usage (request_id, sandbox_id, tenant_id, at, model, tokens, state)
         select gen_random_uuid(), id, tenant_id, now(), 'm', 1, 'final' from sandbox where tenant_id = $1",
    ] {
        let statement = statement.replace("$1", &format!("'{id}'::uuid"));
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(db).await;
        done.unwrap();
    }
    sqlx::query!(
        "insert into reminder (id, tenant_id, kind, next_at, body, key_id, created_at)
         values ($1, $2, 'once', now(), 'words', 1, now())",
        ReminderId::new() as ReminderId,
        tenant(n) as TenantId,
    )
    .execute(db)
    .await
    .unwrap();
    story.asks(Kind::Sandbox, Some(sandbox), None).await;
    story.works().await;
}

async fn erase(story: &Story, n: u128) -> Erased {
    let mut tx = story.world.pool.begin().await.unwrap();
    let erased = erase::erase(&mut tx, tenant(n), Some("ana"), story.now()).await;
    tx.commit().await.unwrap();
    erased.unwrap()
}

/// In how many rows of which table a person is still named, or has words.
async fn traces(story: &Story, n: u128) -> Vec<String> {
    let mut found = Vec::new();
    for (what, query) in [
        (
            "inbox",
            "select count(*) from inbox where tenant_id = $1 and (body is not null or done_at is null)",
        ),
        ("outbox", "select count(*) from outbox where tenant_id = $1"),
        ("turn", "select count(*) from turn where tenant_id = $1"),
        (
            "receipt",
            "select count(*) from receipt where wamid = 'w' || $1::text",
        ),
        (
            "reminder",
            "select count(*) from reminder where tenant_id = $1",
        ),
        ("usage", "select count(*) from usage where tenant_id = $1"),
        ("frozen", "select count(*) from frozen where tenant_id = $1"),
        (
            "address",
            "select count(*) from tenant_address where tenant_id = $1",
        ),
        (
            "sandbox",
            "select count(*) from sandbox where tenant_id = $1",
        ),
        (
            "tenant",
            "select count(*) from tenant where id = $1 and (status <> 'erased' or name is not null or last_inbound_at is not null)",
        ),
    ] {
        let query = query.replace("$1", &format!("'{}'::uuid", tenant(n)));
        let count = sqlx::raw_sql(sqlx::AssertSqlSafe(query))
            .fetch_one(&story.world.pool)
            .await;
        let count: i64 = sqlx::Row::get(&count.unwrap(), 0);
        if count > 0 {
            found.push(format!("{what} {count}"));
        }
    }
    found
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn nothing_of_a_person_is_left_and_nothing_of_others_is_touched(db: PgPool) {
    let story = Story::new(db).await;
    known(&story, 10, PHONE).await;
    known(&story, 11, "16505550000").await;
    let others = traces(&story, 11).await;
    assert_eq!(others.len(), 10, "the story must have something to erase");

    let erased = erase(&story, 10).await;
    assert_eq!(traces(&story, 10).await, Vec::<String>::new());
    assert_eq!(traces(&story, 11).await, others);
    let sandbox = erased.sandboxes[0];
    assert_eq!(
        story.snapshots(sandbox).await.len(),
        1,
        "the worker has not come yet"
    );
    let story = story.dies().await;
    story.works().await;
    assert_eq!(story.snapshots(sandbox).await.len(), 0);
    assert_eq!(tombstone::unstored(&story.world.pool).await.unwrap(), 0);
    let stored = tombstone::stored(&story.store(), &story.key())
        .await
        .unwrap();
    assert_eq!((stored.len(), stored[0].tenant), (1, tenant(10).0));
    assert_eq!(stored[0].addresses.len(), 2);
    let settled = async {
        story.world.settle().await;
        story.world.engine.state().volumes.contains(&sandbox)
    };
    assert!(!settled.await, "the volume is buried");

    let again = erase(&story, 10).await;
    assert_eq!((again.is_new, again.wishes.len()), (false, 0));
    story.works().await;
    let stored = tombstone::stored(&story.store(), &story.key())
        .await
        .unwrap();
    assert_eq!(
        stored[0].addresses.len(),
        2,
        "a second time forgets nothing"
    );
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_backup_of_before_erases_again_but_not_who_came_after(db: PgPool) {
    let story = Story::new(db).await;
    known(&story, 10, PHONE).await;
    known(&story, 11, "16505550000").await;
    story.asks(Kind::All, None, None).await;
    story.works().await;
    let before = story.store().list("database").await.unwrap()[0]
        .name
        .clone();
    erase(&story, 10).await;
    story.works().await;
    // They write again, as somebody new, and that is backed up, too.
    story.later(60);
    known(&story, 12, PHONE).await;
    sqlx::query!(
        "update tenant set created_at = $1 where id = $2",
        story.now(),
        tenant(12).0
    )
    .execute(&story.world.pool)
    .await
    .unwrap();
    story.asks(Kind::All, None, None).await;
    story.works().await;
    let after = story.store().list("database").await.unwrap()[0]
        .name
        .clone();

    for (name, again, alive) in [(&before, 1, vec![11]), (&after, 0, vec![11, 12])] {
        for statement in ["create schema unfinished", "delete from worker"] {
            sqlx::raw_sql(statement)
                .execute(&story.world.pool)
                .await
                .unwrap();
        }
        let (store, key) = (story.store(), story.key());
        let restored = whole::bring_back(
            &story.world.pool,
            &MIGRATOR,
            &store,
            &key,
            name,
            Open::WasDone,
            story.now(),
        );
        assert_eq!(restored.await.unwrap().erased_again, again);
        assert_eq!(traces(&story, 10).await, Vec::<String>::new());
        for n in alive {
            assert!(!traces(&story, n).await.is_empty(), "{n} is gone, too");
        }
    }
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_row_that_turned_out_to_be_the_same_person_goes_with_them(db: PgPool) {
    let story = Story::new(db).await;
    known(&story, 10, PHONE).await;
    known(&story, 11, "16505550000").await;
    let mut conn = story.world.pool.acquire().await.unwrap();
    crate::tenant::close_into(&mut conn, tenant(11), tenant(10))
        .await
        .unwrap();
    drop(conn);
    erase(&story, 10).await;
    assert_eq!(traces(&story, 11).await, Vec::<String>::new());
}
