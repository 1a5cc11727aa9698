//! Every table out, everything lost, everything back: and nobody is answered or told twice.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::Story;
use crate::{
    MIGRATOR,
    backup::{
        database,
        row::Kind,
        whole::{self, Open},
    },
    id::{OutboxId, TenantId, TurnId},
    migrate,
    sandbox::tests::tenant,
    tests::support::sealer,
};

const STATES: [&str; 6] = ["queued", "sending", "unknown", "accepted", "held", "failed"];

/// A message of somebody, with everything that hangs on it, in the middle of being dealt with.
async fn busy(story: &Story, n: u128) -> TurnId {
    let db = &story.world.pool;
    let sandbox = story.sleeping(n, "likes tea").await;
    let (turn, now) = (TurnId::new(), story.now());
    sqlx::query!(
        "insert into turn (id, tenant_id, sandbox_id, trigger, worker_id, created_at, deadline_at)
         values ($1, $2, $3, 'message', $1, $4, $4)",
        turn as TurnId,
        tenant(n) as TenantId,
        sandbox.0,
        now,
    )
    .execute(db)
    .await
    .unwrap();
    for taken in [Some(turn), None] {
        sqlx::query!(
            "insert into inbox (id, line_id, kind, provider_id, received_at, tenant_id, turn_id, body,
                                key_id, run_after)
             select gen_random_uuid(), line_id, 'message', gen_random_uuid()::text, $2, id, $3, $4, 1, $2
             from tenant where id = $1",
            tenant(n) as TenantId,
            now,
            taken as Option<TurnId>,
            sealer().seal(b"a\tsealed\nbody \\N \0"),
        )
        .execute(db)
        .await
        .unwrap();
    }
    for state in STATES {
        sqlx::query!(
            "insert into outbox (id, tenant_id, turn_id, key, class, type, body, key_id, state,
                                 run_after, created_at, expires_at, wamid)
             values ($1, $2, $3, '1/' || $4 || '/0', 'reply', 'text', $5, 1, $4, $6, $6, $6, $4)",
            OutboxId::new() as OutboxId,
            tenant(n) as TenantId,
            turn as TurnId,
            state,
            sealer().seal(b"an answer"),
            now,
        )
        .execute(db)
        .await
        .unwrap();
    }
    turn
}

/// Everything in a table, as text.
async fn rows(db: &PgPool, table: &str) -> Vec<String> {
    let query = format!("select t::text from {table} t order by 1");
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(query))
        .fetch_all(db)
        .await
        .unwrap();
    rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}

async fn word(db: &PgPool, query: &'static str) -> Vec<String> {
    let rows = sqlx::raw_sql(query).fetch_all(db).await.unwrap();
    rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}

/// The database of a new machine.
async fn lose(db: &PgPool) {
    for statement in ["drop schema public cascade", "create schema public"] {
        sqlx::raw_sql(statement).execute(db).await.unwrap();
    }
}

async fn backed_up(story: &Story) -> String {
    let all = story.asks(Kind::All, None, None).await;
    story.works().await;
    assert_eq!(story.came_to(all).await, "done whole");
    story.store().list("database").await.unwrap()[0]
        .name
        .clone()
}

/// Long ago all had been polled that there was.
async fn polled(db: &PgPool) {
    let long_ago = "2026-01-01T00:00:00Z 2026-01-01T00:00:00Z";
    sqlx::query!("update line set poll_cursor = $1", long_ago)
        .execute(db)
        .await
        .unwrap();
}

/// Whether polling goes on from there.
const FROM_THERE: &str = "select (poll_cursor like '2026-01-01%')::text from line";

async fn bring_back(story: &Story, name: &str, open: Open) -> whole::Restored {
    let later = story.now() + TimeDelta::hours(6);
    let (store, key) = (story.store(), story.key());
    whole::bring_back(
        &story.world.pool,
        &MIGRATOR,
        &store,
        &key,
        name,
        open,
        later,
    )
    .await
    .unwrap()
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn every_table_comes_back_as_it_was(db: PgPool) {
    let story = Story::new(db).await;
    for n in [10, 11] {
        busy(&story, n).await;
    }
    let db = &story.world.pool;
    let untouched = [
        "line",
        "tenant",
        "tenant_address",
        "receipt",
        "reminder",
        "usage",
        "frozen",
        "event",
    ];
    sqlx::query!(
        "insert into event (id, at, actor, kind, detail)
         values (gen_random_uuid(), now(), E'a\\tb\\nc\\\\', 'test', '{\"a\": [1, \"\\\\n\"]}')"
    )
    .execute(db)
    .await
    .unwrap();
    let name = backed_up(&story).await;
    let manifest = database::manifest(&story.store(), &story.key(), &name)
        .await
        .unwrap();
    let mut before = Vec::new();
    for table in untouched {
        before.push(rows(db, table).await);
    }
    let seqs = word(
        db,
        "select (seq || ' ' || key || tenant_id)::text from outbox order by seq",
    )
    .await;
    lose(db).await;

    let restored = bring_back(&story, &name, Open::GoesOn).await;
    assert_eq!(restored.manifest, manifest);
    assert_eq!((restored.people, restored.sandboxes), (20, 2));
    for (table, before) in untouched.into_iter().zip(before) {
        assert_eq!(rows(db, table).await, before, "{table}");
    }
    let again = word(
        db,
        "select (seq || ' ' || key || tenant_id)::text from outbox order by seq",
    )
    .await;
    assert_eq!(again, seqs);
    // What comes next stands behind what there is.
    let next = "insert into outbox (id, tenant_id, key, class, type, key_id, run_after, created_at, expires_at)
                select gen_random_uuid(), tenant_id, 'next', 'ours', 'text', 1, now(), now(), now()
                from outbox limit 1 returning seq::text";
    let next: i64 = word(db, next).await[0].parse().unwrap();
    assert_eq!(next, seqs.len() as i64 + 1);
    migrate::require_current(db, &MIGRATOR).await.unwrap();
    let waiting = "select count(*)::text from backup where kind = 'restore' and state = 'waiting'";
    assert_eq!(
        word(db, waiting).await,
        ["2"],
        "every sandbox waits for its files"
    );
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn what_was_open_counts_as_answered_for_the_deployment_ran_on(db: PgPool) {
    let story = Story::new(db).await;
    busy(&story, 10).await;
    polled(&story.world.pool).await;
    let name = backed_up(&story).await;
    lose(&story.world.pool).await;
    bring_back(&story, &name, Open::WasDone).await;
    let db = &story.world.pool;
    let outbox =
        "select key || ' ' || state || ' ' || coalesce(error, '') from outbox order by seq";
    assert_eq!(
        word(db, outbox).await,
        [
            "1/queued/0 failed restored",
            "1/sending/0 accepted restored",
            "1/unknown/0 accepted restored",
            "1/accepted/0 accepted ",
            "1/held/0 failed restored",
            "1/failed/0 failed ",
        ],
        "the keys stay: they say what was sent"
    );
    let sandbox = "select restored::text || ' ' || (cursor is null)::text from sandbox";
    assert_eq!(
        word(db, sandbox).await,
        ["true true"],
        "nothing of its conversation is sent"
    );
    let inbox = "select distinct outcome || ' ' || (done_at is not null)::text from inbox";
    assert_eq!(word(db, inbox).await, ["restored true"]);
    assert_eq!(word(db, FROM_THERE).await, ["false"]);
    let turn =
        "select state || ' ' || outcome from turn where worker_id is null and outcome is not null";
    assert_eq!(word(db, turn).await, ["buried restored"]);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn after_a_planned_move_what_was_open_goes_on_but_nothing_is_sent_twice(db: PgPool) {
    let story = Story::new(db).await;
    busy(&story, 10).await;
    polled(&story.world.pool).await;
    let name = backed_up(&story).await;
    lose(&story.world.pool).await;
    bring_back(&story, &name, Open::GoesOn).await;
    let db = &story.world.pool;
    let outbox = "select state from outbox order by seq";
    assert_eq!(
        word(db, outbox).await,
        [
            "queued", "accepted", "accepted", "accepted", "held", "failed"
        ]
    );
    assert_eq!(
        word(db, "select count(*)::text from inbox where done_at is null").await,
        ["2"]
    );
    assert_eq!(word(db, FROM_THERE).await, ["true"]);
    let turn = "select count(*)::text from turn where state = 'active' and worker_id is null";
    assert_eq!(word(db, turn).await, ["1"], "anybody may take it");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_database_that_is_in_use_is_never_filled_and_half_a_restore_never_served(db: PgPool) {
    let story = Story::new(db).await;
    busy(&story, 10).await;
    let name = backed_up(&story).await;
    let db = &story.world.pool;
    assert_eq!(
        whole::obstacle(db).await.unwrap(),
        Some("A worker is running on it.")
    );
    sqlx::query!("delete from worker")
        .execute(db)
        .await
        .unwrap();
    assert_eq!(
        whole::obstacle(db).await.unwrap(),
        Some("The database is not empty.")
    );
    let (store, key) = (story.store(), story.key());
    let open = Open::WasDone;
    let refused = whole::bring_back(db, &MIGRATOR, &store, &key, &name, open, story.now()).await;
    assert!(refused.is_err());
    assert_eq!(word(db, "select count(*)::text from outbox").await, ["6"]);

    // It died when the tables were full and nothing was settled yet.
    sqlx::raw_sql("create schema unfinished")
        .execute(db)
        .await
        .unwrap();
    let served = migrate::require_current(db, &MIGRATOR).await;
    assert!(served.unwrap_err().to_string().contains("clawkaka restore"));
    bring_back(&story, &name, open).await;
    migrate::require_current(db, &MIGRATOR).await.unwrap();
    assert_eq!(word(db, "select count(*)::text from outbox").await, ["6"]);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_backup_of_an_older_program_ends_as_a_database_of_today(db: PgPool) {
    let story = Story::new(db).await;
    busy(&story, 10).await;
    let name = backed_up(&story).await;
    let manifest = database::manifest(&story.store(), &story.key(), &name)
        .await
        .unwrap();
    let newest = MIGRATOR.iter().map(|one| one.version).max().unwrap();
    assert_eq!(manifest.migration, newest);
    let older = database::Manifest {
        migration: 9,
        ..manifest.clone()
    };
    let upto = database::migrations_of(&MIGRATOR, &older).unwrap();
    assert_eq!(upto.iter().map(|one| one.version).max(), Some(9));
    let newer = database::Manifest {
        migration: newest + 1,
        ..manifest
    };
    let refused = database::migrations_of(&MIGRATOR, &newer).err().unwrap();
    assert!(refused.to_string().contains("newer program"), "{refused}");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn an_export_is_of_the_moment_that_is_asked_for(db: PgPool) {
    let story = Story::new(db).await;
    let mut times: Vec<DateTime<Utc>> = Vec::new();
    for _ in 0..2 {
        backed_up(&story).await;
        times.push(story.now());
        story.later(3_600);
    }
    let store = story.store();
    let newest = whole::choose(&store, None).await.unwrap().unwrap();
    assert_eq!(newest.at, times[1]);
    let before = whole::choose(&store, Some(times[1] - TimeDelta::seconds(1)))
        .await
        .unwrap();
    assert_eq!(before.unwrap().at, times[0]);
    let none = whole::choose(&store, Some(times[0] - TimeDelta::seconds(1)))
        .await
        .unwrap();
    assert_eq!(none, None);
}
