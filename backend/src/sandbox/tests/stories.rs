//! What happens to sandboxes, told as stories.

use std::sync::Arc;

use futures_util::FutureExt;
use sqlx::PgPool;
use tokio::sync::Notify;

use super::World;
use crate::{
    id::SandboxId,
    sandbox::{plan::Observed, row, runtime::Container},
};

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_wanted_sandbox_comes_up_and_can_be_dialled(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    let idle = world.assign(11).await;
    world.settle().await;
    let endpoint = world
        .sandboxes
        .endpoint(id)
        .now_or_never()
        .unwrap()
        .unwrap();
    assert_eq!(endpoint.address.to_string(), "10.99.1.1:18789");
    world.sandboxes.ready(&endpoint).await.unwrap();
    assert_eq!(rows(&world, id).await.failures, 0);
    assert_eq!(world.engine.of(idle), None, "nobody asked for it");
    assert_eq!(world.engine.log().len(), 2);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn one_that_crashes_comes_back_at_once_then_with_a_growing_pause(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    let endpoint = world.sandboxes.endpoint(id).await.unwrap();
    world.sandboxes.ready(&endpoint).await.unwrap();
    assert!(world.sandboxes.lost(&endpoint).now_or_never().is_none());

    world.engine.crash(id);
    world.settle().await;
    assert!(world.sandboxes.lost(&endpoint).now_or_never().is_some());
    assert_eq!(world.engine.of(id).unwrap().observed, Observed::Running);

    for pause in [2, 4, 8] {
        world.engine.crash(id);
        world.advance(pause - 1);
        world.settle().await;
        assert_eq!(
            world.engine.of(id).unwrap().observed,
            Observed::Exited,
            "after {pause} s"
        );
        world.advance(1);
        world.settle().await;
        assert_eq!(
            world.engine.of(id).unwrap().observed,
            Observed::Running,
            "after {pause} s"
        );
    }
    let found = world.engine.of(id).unwrap();
    assert_ne!(
        found.id, endpoint.container_id,
        "from the second failure on it is made anew"
    );
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_broken_one_is_replaced_and_keeps_its_volume(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    let endpoint = world.sandboxes.endpoint(id).await.unwrap();
    world
        .sandboxes
        .broken(&endpoint, "it never answered")
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(world.engine.of(id), None);
    assert_eq!(world.engine.state().volumes, [id]);
    world.advance(2);
    world.settle().await;
    let again = world.sandboxes.endpoint(id).await.unwrap();
    assert_ne!(again.container_id, endpoint.container_id);
    world
        .sandboxes
        .broken(&endpoint, "late news of the old one")
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(world.engine.of(id).unwrap().id, again.container_id);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn one_that_does_not_start_is_not_kept(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.engine.state().refuses_to_start = true;
    world.settle().await;
    assert_eq!(world.engine.of(id), None);
    assert_eq!(rows(&world, id).await.failures, 1);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn what_survived_our_restart_is_adopted_and_not_touched(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    let before = world.sandboxes.endpoint(id).await.unwrap();
    world.answered(id).await;
    let (world, log) = (world.restart(), 2);
    world.settle().await;
    let after = world.sandboxes.endpoint(id).await.unwrap();
    assert_eq!(after.container_id, before.container_id);
    assert_eq!(after.started_at, before.started_at);
    assert_eq!(world.engine.log().len(), log, "{:?}", world.engine.log());
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn orphans_and_doubles_are_removed_and_unknown_volumes_are_not(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    let orphan = container("orphan", SandboxId::new());
    let double = container("double", id);
    let stranger = orphan.sandbox;
    world.engine.state().volumes.push(stranger);
    world.engine.state().containers.extend([orphan, double]);
    world.settle().await;
    world.sandboxes.sweep().await.unwrap();
    let state = world.engine.state();
    assert_eq!(state.containers.len(), 1);
    assert_ne!(state.containers[0].id, "double");
    assert_eq!(state.volumes, [id, stranger]);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn when_the_walls_fall_all_are_paused_and_go_on_when_they_stand(pool: PgPool) {
    let world = World::new(pool);
    let (one, two) = (world.wanted(10).await, world.wanted(11).await);
    world.settle().await;
    let endpoint = world.sandboxes.endpoint(one).await.unwrap();
    world.sandboxes.ready(&endpoint).await.unwrap();
    let waiting = world.assign(12).await;
    world.answered(two).await;

    world.engine.state().breach = Some("the table is gone".to_owned());
    world.pass().await;
    for id in [one, two] {
        assert_eq!(
            world.engine.of(id).unwrap().observed,
            Observed::Paused,
            "within one pass"
        );
    }
    world.opens(waiting);
    world.settle().await;
    assert_eq!(world.engine.of(waiting), None, "nothing is started");
    assert!(!world.is_within_reach(one));
    assert!(
        world.sandboxes.lost(&endpoint).now_or_never().is_none(),
        "a pause ends no run"
    );

    world.engine.state().breach = None;
    world.engine.state().leak = Some("the neighbour is reached".to_owned());
    world.settle().await;
    assert_eq!(
        world.engine.of(one).unwrap().observed,
        Observed::Paused,
        "not proven yet"
    );

    world.engine.state().leak = None;
    world.advance(10);
    world.settle().await;
    for id in [one, two, waiting] {
        assert_eq!(world.engine.of(id).unwrap().observed, Observed::Running);
    }
    assert_eq!(
        world.sandboxes.endpoint(one).await.unwrap().started_at,
        endpoint.started_at
    );
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn fallen_walls_pause_all_even_while_the_database_is_down(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    world.pool.close().await;
    assert!(world.sandboxes.pass().await.is_err());
    world.engine.state().breach = Some("the table is gone".to_owned());
    world.pass().await;
    assert_eq!(world.engine.of(id).unwrap().observed, Observed::Paused);
    assert!(!world.is_within_reach(id));
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn without_the_lease_nothing_is_touched(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    world.engine.crash(id);
    world.advance(2);
    let tasks = world.sandboxes.pass().await.unwrap();
    assert_eq!(tasks.len(), 1);
    world.lose_lease();
    let before = world.engine.log();
    for task in tasks {
        world.sandboxes.perform(task).await;
    }
    world.engine.state().breach = Some("gone".to_owned());
    world.settle().await;
    assert_eq!(world.engine.log(), before);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn only_as_many_boot_at_a_time_as_the_machine_takes(pool: PgPool) {
    let world = World::new(pool);
    let mut ids = Vec::new();
    for n in 10..14 {
        ids.push(world.wanted(n).await);
    }
    world.settle().await;
    let running = |id: &&SandboxId| {
        world
            .engine
            .of(**id)
            .is_some_and(|found| found.observed == Observed::Running)
    };
    // The engine's clock stands where ours does, so that all of these are young.
    assert_eq!(ids.iter().filter(running).count(), 2);
    let first = *ids.iter().find(running).unwrap();
    let endpoint = world.sandboxes.endpoint(first).await.unwrap();
    world.sandboxes.ready(&endpoint).await.unwrap();
    world.settle().await;
    assert_eq!(ids.iter().filter(running).count(), 3);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn what_was_seen_before_a_step_ended_is_not_acted_upon(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.pass().await;
    let create = world.sandboxes.pass().await.unwrap();
    assert_eq!(create.len(), 1);
    assert_eq!(
        world.sandboxes.pass().await.unwrap().len(),
        0,
        "one step at a time"
    );

    let gate = Arc::new(Notify::new());
    world.engine.state().gate = Some(gate.clone());
    let (stale, ()) = tokio::join!(world.sandboxes.pass(), async {
        for task in create {
            world.sandboxes.perform(task).await;
        }
        gate.notify_one();
    });
    assert_eq!(stale.unwrap().len(), 0, "it saw no container yet");
    world.engine.state().gate = None;
    world.settle().await;
    assert_eq!(world.engine.of(id).unwrap().observed, Observed::Running);
    assert_eq!(world.engine.log().len(), 2, "{:?}", world.engine.log());
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn what_nobody_wants_awake_is_not_kept_but_its_volume_is(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    world.answered(id).await;
    world.settle().await;
    assert_eq!(
        world.engine.of(id).unwrap().observed,
        Observed::Running,
        "it may go on"
    );
    world.engine.crash(id);
    world.settle().await;
    assert_eq!(world.engine.of(id), None);
    assert_eq!(world.engine.state().volumes, [id]);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_retired_one_goes_with_its_volume_and_its_slot_rests(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    world.turn_ends(id);
    row::retire(&world.pool, id).await.unwrap();
    let next = world.assign(10).await;
    assert_ne!(next, id);
    world.settle().await;
    assert_eq!(world.engine.of(id), None);
    assert_eq!(world.engine.state().volumes, []);
    world.sandboxes.sweep().await.unwrap();
    assert_eq!(rows(&world, next).await.slot, 2);
    assert!(rows(&world, id).await.gone_at.is_some());
    world.advance(601);
    world.sandboxes.sweep().await.unwrap();
    let third = world.assign(11).await;
    assert_eq!(rows(&world, third).await.slot, 1);
}

fn container(name: &str, sandbox: SandboxId) -> Container {
    Container {
        id: name.to_owned(),
        name: name.to_owned(),
        sandbox,
        spec_hash: String::new(),
        image: String::new(),
        observed: Observed::Running,
        started_at: "2027-01-15T08:00:00Z".to_owned(),
        address: None,
    }
}

async fn rows(world: &World, id: SandboxId) -> row::Row {
    row::list(&world.pool, &[id], world.clock.now())
        .await
        .unwrap()
        .into_iter()
        .find(|row| row.id == id)
        .unwrap()
}
