//! An operator upgrades sandboxes; the worker and Docker are the test's hands.

use std::time::Duration;

use sqlx::PgPool;

use super::{Desk, engine::Engine};
use crate::{
    id::{SandboxId, UpgradeId, WorkerId},
    operator::answer::Answer,
    sandbox::row,
    tests::support::{noon, text},
    upgrade::{self, State, look},
};

const OLD: &str = "sha256:old";
const IMAGE: &str = "--sandbox-image=ours:2";
const PLACE: &str = "--backup-to=/nowhere/backups";

/// Somebody whose sandbox runs an older image than the current one.
async fn with_somebody_behind(db: &PgPool) -> (Desk, Engine, SandboxId) {
    let desk = Desk::new(db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let tenant = desk.tenant().await;
    let mut conn = db.acquire().await.unwrap();
    let sandbox = row::assign(&mut conn, tenant, noon()).await.unwrap();
    row::begin_start(db, sandbox, "spec", &[1; 32], noon())
        .await
        .unwrap();
    row::image::moved(db, sandbox, OLD).await.unwrap();
    (desk, Engine::start().await, sandbox)
}

async fn upgrades(desk: &Desk, engine: &Engine, words: &[&str]) -> Answer {
    let words = [
        &["sandbox", "upgrade", &engine.host, IMAGE, PLACE, "--as=ana"],
        words,
    ];
    desk.types(&words.concat()).await
}

fn id(said: &Answer) -> UpgradeId {
    UpgradeId(said.json["id"].as_str().unwrap().parse().unwrap())
}

/// As soon as there is something to do the worker does it, and it ends like this.
async fn worker_ends_it(desk: &Desk, state: State, outcome: &'static str) {
    let (db, me) = (&desk.db, WorkerId::new());
    let run = loop {
        match upgrade::running(db).await.unwrap() {
            Some(run) => break run,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let part = upgrade::take(db, &run, me, true, noon()).await.unwrap();
    let part = part.unwrap();
    let mut conn = db.acquire().await.unwrap();
    upgrade::end(&mut conn, &run, &part, me, (state, outcome), noon())
        .await
        .unwrap();
    let stops = look::tally(db, run.id).await.unwrap().stops(&run);
    let (state, outcome) = match stops {
        Some(why) => ("stopped", why),
        None => ("done", "whole"),
    };
    upgrade::finish(db, &run, state, outcome, noon())
        .await
        .unwrap();
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_asked_for_without_a_way_back_an_image_and_a_name(db: PgPool) {
    let (desk, engine, _) = with_somebody_behind(&db).await;
    let without = ["sandbox", "upgrade", "--all", "--yes", &engine.host, IMAGE];
    let said = desk.types(&without).await;
    assert_eq!(said.json["error"]["code"], "no-backups");
    assert!(said.text.contains("BACKUP_TO"), "{}", said.text);
    let said = upgrades(&desk, &engine, &[]).await;
    assert_eq!(said.json["error"]["code"], "nothing-named");
    assert!(
        said.text.contains("1 sandboxes run another"),
        "{}",
        said.text
    );
    let nobody = "0198c0de-0000-7000-8000-000000000000";
    let said = upgrades(&desk, &engine, &[nobody]).await;
    assert_eq!(said.json["error"]["code"], "no-such-sandbox");
    let said = upgrades(&desk, &engine, &["--stop"]).await;
    assert_eq!(said.json["error"]["code"], "no-upgrade");
    assert!(upgrade::running(&db).await.unwrap().is_none());
    assert!(desk.events().await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn it_is_put_on_record_and_shown_until_it_is_over(db: PgPool) {
    let (desk, engine, sandbox) = with_somebody_behind(&db).await;
    let asked = upgrades(&desk, &engine, &["--all", "--no-wait"]).await;
    assert!(asked.good, "{}", asked.text);
    let again = upgrades(&desk, &engine, &["--canary=5", "--no-wait", "--yes"]).await;
    assert_eq!(id(&again), id(&asked), "the one under way");
    assert_eq!(desk.events().await.len(), 1);
    let said = upgrades(&desk, &engine, &["--stop", "--no-wait"]).await;
    assert_eq!(id(&said), id(&asked));
    let run = upgrade::running(&db).await.unwrap().unwrap();
    assert!(run.stop_asked);
    upgrade::finish(&db, &run, "stopped", "asked", noon())
        .await
        .unwrap();
    assert!(!look::last_stopped(&db).await.unwrap(), "as it was wanted");

    let followed = upgrades(&desk, &engine, &["--all"]);
    let (said, ()) = tokio::join!(followed, worker_ends_it(&desk, State::Done, "ready"));
    assert!(said.good, "{}", said.text);
    assert!(
        said.text
            .starts_with("Done. 1 of 1 upgraded to ours:2 (abc)"),
        "{}",
        said.text
    );
    assert_eq!(said.json["others"], 0);
    let said = upgrades(&desk, &engine, &[&sandbox.to_string()]).await;
    assert!(said.good && said.text.contains("already"), "{}", said.text);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn one_that_was_rolled_back_is_no_success_and_is_named_with_the_reason(db: PgPool) {
    let (desk, engine, sandbox) = with_somebody_behind(&db).await;
    let said = upgrades(&desk, &engine, &["--all"]);
    let (said, ()) = tokio::join!(said, worker_ends_it(&desk, State::RolledBack, "late"));
    let done = look::asked(&db, id(&said)).await.unwrap().unwrap();
    assert_eq!(done.outcome.as_deref(), Some("canary"));
    assert!(look::last_stopped(&db).await.unwrap(), "the alert rings");
    assert!(!said.good);
    let line = format!("{sandbox} rolled back: its gateway did not become ready in time");
    assert!(said.text.contains(&line), "{}", said.text);
    assert_eq!(said.json["rolled_back"], 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_runs_an_older_image_is_seen(db: PgPool) {
    let (desk, engine, sandbox) = with_somebody_behind(&db).await;
    let listed = async || {
        let said = desk.types(&["sandbox", "list", &engine.host, IMAGE]).await;
        let current = said.json["sandboxes"][0]["image_is_current"].clone();
        (said.text, current)
    };
    let (text, current) = listed().await;
    assert!(text.contains("old (older)"), "{text}");
    assert_eq!(current, false);
    let show = ["sandbox", "show", &sandbox.to_string(), &engine.host, IMAGE];
    let said = desk.types(&show).await;
    assert!(
        said.text.contains("outdated: ours:2 is abc"),
        "{}",
        said.text
    );
    row::image::moved(&db, sandbox, "sha256:abc").await.unwrap();
    let (text, current) = listed().await;
    assert!(!text.contains("older"), "{text}");
    assert_eq!(current, true);
}
