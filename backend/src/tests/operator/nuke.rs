//! Away with what the program made, and with nothing else.

use sqlx::PgPool;

use super::{
    Desk,
    engine::{Engine, Held},
};
use crate::{
    MIGRATOR,
    id::SandboxId,
    migrate::{self, Patience},
    presence,
    tests::support::text,
};

/// Two sandboxes, one awake, a probe that was left, and the network.
async fn with_a_deployment(db: &PgPool) -> (Desk, Engine) {
    let (desk, engine) = (Desk::new(db).await, Engine::start().await);
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let (awake, asleep) = (SandboxId::new(), SandboxId::new());
    {
        let mut state = engine.state();
        state.volumes = vec![awake, asleep];
        state.containers = vec![
            Held::running(awake),
            Held {
                sandbox: None,
                ..Held::running(awake)
            },
        ];
        state.has_network = true;
    }
    (desk, engine)
}

fn is_empty(engine: &Engine) -> bool {
    let state = engine.state();
    state.containers.is_empty() && state.volumes.is_empty() && !state.has_network
}

/// Whatever anybody could have made in the schema: tables, views, sequences, indexes, functions, types.
async fn schema(db: &PgPool) -> Vec<String> {
    let all = sqlx::query_scalar!(
        r#"select relname::text as "name!" from pg_class where relnamespace = 'public'::regnamespace
           union all select proname::text from pg_proc where pronamespace = 'public'::regnamespace
           union all select typname::text from pg_type where typnamespace = 'public'::regnamespace
           order by 1"#
    );
    all.fetch_all(db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn afterwards_the_schema_is_empty_and_migrate_makes_all_of_it_again(db: PgPool) {
    let (desk, engine) = with_a_deployment(&db).await;
    let made = schema(&db).await;
    desk.fire().await;
    let shown = desk.types(&["nuke", "--json", &engine.host]).await;
    assert!(
        shown.good && shown.json["removed"] == false,
        "{}",
        shown.text
    );
    assert_eq!(shown.json["containers"], 2);
    assert_eq!(shown.json["volumes"], 2);
    assert_eq!(shown.json["network"], "ck-80edb2f1");
    assert_eq!(
        (&shown.json["people"], &shown.json["messages"]),
        (&1.into(), &1.into())
    );
    assert!(!is_empty(&engine), "it was only shown");
    assert_eq!(schema(&db).await, made, "it was only shown");

    let said = desk.types(&["nuke", "--yes", &engine.host]).await;
    assert!(said.good && said.json["removed"] == true, "{}", said.text);
    assert!(is_empty(&engine), "{}", said.text);
    let left = schema(&db).await;
    assert!(
        left.is_empty(),
        "name these in operator/nuke/tables.rs, too: {left:?}"
    );

    let again = desk.types(&["nuke", "--yes", &engine.host]).await;
    assert!(again.good, "{}", again.text);
    assert!(again.text.contains("There is nothing"), "{}", again.text);
    migrate::run(&db, &MIGRATOR, Patience::default(), |_| {})
        .await
        .unwrap();
    assert_eq!(schema(&db).await, made);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn nothing_is_removed_under_a_worker_or_a_web_that_is_alive(db: PgPool) {
    let (desk, engine) = with_a_deployment(&db).await;
    let before = schema(&db).await;
    let refused = async || {
        let said = desk.types(&["nuke", "--yes", &engine.host]).await;
        assert!(
            !said.good && said.text.contains("stop serve first"),
            "{}",
            said.text
        );
        assert!(!is_empty(&engine));
        assert_eq!(schema(&db).await, before);
        said.json["error"]["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused().await, "worker-alive");
    desk.fire().await;
    presence::renew(&db).await.unwrap();
    assert_eq!(refused().await, "web-alive");
    let said = desk
        .types(&["nuke", "--yes", "--docker-host=tcp://127.0.0.1:1"])
        .await;
    assert_eq!(said.json["error"]["code"], "docker-unreachable");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn it_ends_too_early_and_the_next_run_finds_what_is_left(db: PgPool) {
    let (desk, engine) = with_a_deployment(&db).await;
    desk.fire().await;
    let view = sqlx::raw_sql("create view mine as select id from tenant");
    view.execute(&db).await.unwrap();
    let before = schema(&db).await;
    let said = desk.types(&["nuke", "--yes", &engine.host]).await;
    assert_eq!(said.json["error"]["code"], "others-depend", "{}", said.text);
    assert!(is_empty(&engine), "Docker comes first");
    assert_eq!(schema(&db).await, before, "all tables or none");

    let view = sqlx::raw_sql("drop view mine; create table mine (id int)");
    view.execute(&db).await.unwrap();
    let said = desk.types(&["nuke", "--yes", &engine.host]).await;
    assert!(said.good, "{}", said.text);
    assert_eq!(
        schema(&db).await,
        ["_mine", "mine", "mine"],
        "what is another's stays"
    );
}

#[sqlx::test(migrations = false)]
async fn tables_that_only_have_our_names_are_somebody_elses(db: PgPool) {
    let tables = sqlx::raw_sql(
        "create table event (id int); create table worker (id int);
         create view frozen_tenant as select id from event",
    );
    tables.execute(&db).await.unwrap();
    let before = schema(&db).await;
    let engine = Engine::start().await;
    engine.state().has_network = true;
    let said = super::types(
        &db,
        &["nuke", "--yes", &engine.host],
        crate::tests::support::noon(),
    )
    .await;
    assert!(said.good && is_empty(&engine), "{}", said.text);
    assert_eq!(schema(&db).await, before);
}
