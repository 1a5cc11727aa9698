//! Who takes more than others leave, told as stories.

use std::time::Duration;

use sqlx::PgPool;

use super::World;
use crate::{id::SandboxId, sandbox::greed::Known};

/// Two who are awake, and have booted.
async fn two_awake(world: &World) -> [SandboxId; 2] {
    let both = [world.wanted(10).await, world.wanted(11).await];
    world.settle().await;
    for id in both {
        let endpoint = world.sandboxes.endpoint(id).await.unwrap();
        world.sandboxes.ready(&endpoint).await.unwrap();
    }
    both
}

/// Ten seconds, in which they were at work for so many each.
async fn look(world: &World, known: &mut Known, seconds: &[(SandboxId, u64)]) {
    world.advance(10);
    for (id, more) in seconds {
        let mut state = world.engine.state();
        *state.on_cores.entry(*id).or_default() += Duration::from_secs(*more);
    }
    world.sandboxes.look_for_greed(known).await.unwrap();
}

fn goes_last(world: &World, id: SandboxId) -> bool {
    let container = world.engine.of(id).unwrap();
    world.engine.state().last.contains(&container.id)
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn the_greedy_goes_last_until_it_is_modest_and_nobody_else_does(pool: PgPool) {
    let world = World::new(pool);
    let [greedy, other] = two_awake(&world).await;
    let mut known = Known::new();
    for _ in 0..3 {
        look(&world, &mut known, &[(greedy, 20), (other, 2)]).await;
    }
    assert!(!goes_last(&world, greedy), "that may be a turn");
    look(&world, &mut known, &[(greedy, 20), (other, 2)]).await;
    assert!(goes_last(&world, greedy) && !goes_last(&world, other));
    // Another process finds it there.
    let mut known = Known::new();
    look(&world, &mut known, &[(greedy, 1)]).await;
    for _ in 0..5 {
        look(&world, &mut known, &[(greedy, 1)]).await;
    }
    assert!(goes_last(&world, greedy));
    look(&world, &mut known, &[(greedy, 1)]).await;
    assert!(!goes_last(&world, greedy));
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_boot_is_no_greed(pool: PgPool) {
    let world = World::new(pool);
    let id = world.wanted(10).await;
    world.settle().await;
    let mut known = Known::new();
    for _ in 0..5 {
        look(&world, &mut known, &[(id, 20)]).await;
    }
    assert!(!goes_last(&world, id));
}
