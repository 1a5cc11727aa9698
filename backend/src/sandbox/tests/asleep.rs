//! Falling asleep, waking and making room, told as stories.

use sqlx::PgPool;

use super::World;
use crate::{
    id::SandboxId,
    sandbox::{plan::Observed, row::order::Order},
};

/// A sandbox whose person was answered just now.
async fn answered(world: &World, n: u128) -> SandboxId {
    let id = world.wanted(n).await;
    world.settle().await;
    let endpoint = world.sandboxes.endpoint(id).await.unwrap();
    world.sandboxes.ready(&endpoint).await.unwrap();
    world.answered(id).await;
    world.settle().await;
    id
}

fn observed(world: &World, id: SandboxId) -> Observed {
    world
        .engine
        .of(id)
        .map_or(Observed::Missing, |container| container.observed)
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn the_idle_are_paused_and_then_stopped_and_a_message_wakes_them_from_both(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.advance(4 * 60);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Running);
    world.advance(60);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Paused);
    assert_eq!(world.gateway.log(), ["rests"]);
    assert!(!world.is_within_reach(id));

    world.opens(id);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Running);
    assert_eq!(world.gateway.log(), ["resumed"]);
    assert!(world.is_within_reach(id));
    world.answered(id).await;

    world.advance(30 * 60);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Missing);
    assert_eq!(world.engine.state().volumes, [id], "its memory stays");
    assert_eq!(world.gateway.log(), ["rests"]);

    world.opens(id);
    world.settle().await;
    assert!(world.is_within_reach(id));
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_message_that_comes_when_sleep_is_decided_finds_it_awake(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.advance(5 * 60);
    let tasks = world.sandboxes.pass().await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert!(
        !world.is_within_reach(id),
        "the door is shut before anything is done"
    );
    world.opens(id);
    for task in tasks {
        world.sandboxes.perform(task).await;
    }
    assert_eq!(world.gateway.log(), [""; 0], "it was not even asked");
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Running);
    assert!(world.is_within_reach(id));
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_message_that_comes_while_it_comes_to_rest_lets_it_go_on(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.advance(5 * 60);
    world.opens_while_resting(id);
    world.settle().await;
    assert_eq!(world.gateway.log(), ["goes on"]);
    assert_eq!(observed(&world, id), Observed::Running);
    assert!(world.is_within_reach(id));
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_message_that_comes_when_it_is_paused_or_stopped_wakes_it(pool: PgPool) {
    for minutes in [5, 30] {
        let world = World::new(pool.clone());
        let id = answered(&world, 10 + minutes as u128 / 5).await;
        world.advance(minutes * 60);
        world.pass().await;
        world.opens(id);
        world.settle().await;
        assert_eq!(observed(&world, id), Observed::Running);
        assert!(world.is_within_reach(id));
    }
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_pause_that_fails_leaves_a_gateway_that_works(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.advance(5 * 60);
    world.engine.state().refuses_to_pause = true;
    world.pass().await;
    assert_eq!(world.gateway.log(), ["rests", "resumed"]);
    world.engine.state().refuses_to_pause = false;
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Paused);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn whatever_we_die_at_the_next_process_goes_on_from_what_docker_shows(pool: PgPool) {
    // In the handshake: it runs. In the pause: it runs or is paused. In a stop: it has ended.
    for state in [Observed::Running, Observed::Paused, Observed::Exited] {
        let n = 10 + state as u128;
        let world = World::new(pool.clone());
        let id = answered(&world, n).await;
        world.advance(5 * 60);
        drop(world.sandboxes.pass().await.unwrap());
        world.engine.becomes(id, state);
        let world = world.restart();
        world.opens(id);
        world.settle().await;
        assert_eq!(observed(&world, id), Observed::Running, "from {state:?}");
        assert!(world.is_within_reach(id));
        world.answered(id).await;
        world.advance(30 * 60);
        world.settle().await;
        assert_eq!(observed(&world, id), Observed::Missing, "from {state:?}");
    }
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn one_that_does_not_wake_up_cleanly_is_let_through_all_the_same(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.advance(5 * 60);
    world.settle().await;
    world.gateway.is_silent();
    world.opens(id);
    world.settle().await;
    assert!(world.is_within_reach(id));
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn one_that_claims_to_be_busy_is_asked_now_and_then_and_sleeps_anyway(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.gateway.is_busy(true);
    world.advance(5 * 60);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Running);
    assert_eq!(world.gateway.log(), ["goes on"]);
    assert!(world.is_within_reach(id));
    world.settle().await;
    assert_eq!(world.gateway.log(), [""; 0], "not again at once");

    let mut asked = 0;
    for _ in 0..10 {
        world.advance(59);
        world.settle().await;
        asked += world.gateway.log().len();
        assert_eq!(observed(&world, id), Observed::Running);
    }
    assert_eq!(asked, 10);
    world.advance(59);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Paused);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn fallen_walls_pause_at_once_without_asking(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.gateway.is_busy(true);
    world.engine.state().breach = Some("the table is gone".to_owned());
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Paused);
    assert_eq!(world.gateway.log(), [""; 0]);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn behind_fallen_walls_one_that_cannot_be_paused_is_taken_away(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    world.opens(id);
    world.engine.state().refuses_to_pause = true;
    world.engine.state().breach = Some("the table is gone".to_owned());
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Missing);
    assert_eq!(world.engine.state().volumes, [id]);

    world.engine.state().breach = None;
    world.advance(10);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Running);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn on_a_full_machine_the_longest_idle_makes_room_and_nobody_who_talks_does(pool: PgPool) {
    let world = World::with_places(pool, 2, 0);
    let first = answered(&world, 10).await;
    world.advance(1);
    let second = answered(&world, 11).await;
    let third = world.wanted(12).await;
    world.settle().await;
    assert_eq!(observed(&world, first), Observed::Missing);
    assert_eq!(observed(&world, second), Observed::Running);
    assert_eq!(observed(&world, third), Observed::Running);

    world.opens(second);
    let fourth = world.wanted(13).await;
    world.settle().await;
    assert_eq!(observed(&world, fourth), Observed::Missing);
    assert!(world.sandboxes.is_crowded_out(fourth));
    assert!(!world.sandboxes.is_crowded_out(third));
    world.answered(third).await;
    world.settle().await;
    assert_eq!(observed(&world, fourth), Observed::Running);
    assert!(!world.sandboxes.is_crowded_out(fourth));
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_stampede_is_served_in_the_order_in_which_they_came(pool: PgPool) {
    let world = World::with_places(pool, 2, 0);
    let mut people = Vec::new();
    for n in 10..18 {
        people.push(world.wanted(n).await);
        world.advance(1);
    }
    let mut served = Vec::new();
    while served.len() < people.len() {
        world.settle().await;
        let awake: Vec<_> = people
            .iter()
            .filter(|id| observed(&world, **id) == Observed::Running && !served.contains(*id))
            .copied()
            .collect();
        assert!(!awake.is_empty(), "nobody is served any more: {served:?}");
        for id in awake {
            let endpoint = world.sandboxes.endpoint(id).await.unwrap();
            world.sandboxes.ready(&endpoint).await.unwrap();
            world.answered(id).await;
            served.push(id);
        }
        world.advance(1);
    }
    assert_eq!(served, people);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn an_operators_orders_are_followed(pool: PgPool) {
    let world = World::new(pool);
    let id = answered(&world, 10).await;
    for (order, expected) in [
        (Order::Pause, Observed::Paused),
        (Order::Stop, Observed::Missing),
        (Order::Wake, Observed::Running),
        (Order::Stop, Observed::Missing),
    ] {
        world.advance(10);
        world.order(id, order).await;
        world.settle().await;
        assert_eq!(observed(&world, id), expected, "{order:?}");
    }
    world.advance(10);
    world.opens(id);
    world.settle().await;
    assert_eq!(observed(&world, id), Observed::Running);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn the_pool_boots_one_by_one_and_sleeps_until_somebody_new_comes(pool: PgPool) {
    let world = World::with_places(pool, 5, 2);
    world.settle().await;
    let pooled = world.engine.state().volumes.clone();
    assert_eq!(pooled.len(), 2);
    for id in &pooled {
        assert_eq!(observed(&world, *id), Observed::Paused);
    }
    assert_eq!(world.gateway.log(), ["met", "rests", "met", "rests"]);

    let claimed = world.wanted(10).await;
    assert_eq!(claimed, pooled[0]);
    world.settle().await;
    assert!(world.is_within_reach(claimed));
    assert_eq!(world.engine.state().volumes.len(), 3, "filled up again");
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn the_pool_is_never_at_the_cost_of_somebody_who_waits(pool: PgPool) {
    let world = World::with_places(pool, 1, 1);
    world.settle().await;
    let pooled = world.engine.state().volumes[0];
    let old = world.assign_to_new(10).await;
    world.opens(old);
    world.settle().await;
    assert_eq!(observed(&world, pooled), Observed::Missing);
    assert_eq!(observed(&world, old), Observed::Running);
    let next = world.wanted(11).await;
    assert_eq!(next, pooled, "it has been met, and needs only a start");
    world.answered(old).await;
    world.settle().await;
    assert_eq!(observed(&world, next), Observed::Running);
    let members = world.in_pool().await;
    assert!(
        members.is_empty(),
        "no place is left for a pool: {members:?}"
    );
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_smaller_pool_gives_its_members_up(pool: PgPool) {
    let world = World::with_places(pool, 5, 2);
    world.settle().await;
    let world = world.restart_with_places(5, 0);
    world.settle().await;
    assert!(world.engine.state().volumes.is_empty());
    assert!(world.in_pool().await.is_empty());
}
