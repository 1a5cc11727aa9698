//! Which image somebody runs, when the setting changes, a name moves on, or an image is lost.

use sqlx::PgPool;

use super::World;
use crate::{id::SandboxId, sandbox::plan::Observed};

async fn pinned(world: &World, id: SandboxId) -> Option<String> {
    let image = sqlx::query_scalar!("select image from sandbox where id = $1", id as SandboxId);
    image.fetch_one(&world.pool).await.unwrap()
}

fn runs(world: &World, id: SandboxId) -> String {
    world.engine.of(id).unwrap().image
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn a_new_image_is_for_new_people_and_changes_nobody_who_is_there(pool: PgPool) {
    let world = World::new(pool);
    let (talks, sleeps) = (world.wanted(10).await, world.wanted(11).await);
    world.settle().await;
    world.turn_ends(sleeps);
    world.advance(31 * 60);
    world.settle().await;
    assert_eq!(world.engine.of(sleeps), None);

    world.engine.state().image = Some("sha256:second".to_owned());
    let world = world.restart();
    world.sandboxes.pin_all().await.unwrap();
    let container = world.engine.of(talks).unwrap();
    let new = world.wanted(12).await;
    world.opens(sleeps);
    world.advance(31 * 60);
    world.settle().await;
    assert_eq!(
        world.engine.of(talks).unwrap(),
        container,
        "not even restarted"
    );
    assert_eq!(runs(&world, sleeps), "sha256:first");
    assert_eq!(runs(&world, new), "sha256:second");
    world.engine.crash(talks);
    world.settle().await;
    assert_eq!(runs(&world, talks), "sha256:first", "made anew as it was");
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn what_ran_before_images_were_written_down_stays_as_it_is(pool: PgPool) {
    let world = World::new(pool);
    let (awake, asleep) = (world.wanted(10).await, world.wanted(11).await);
    world.settle().await;
    world.turn_ends(asleep);
    world.advance(31 * 60);
    world.settle().await;
    let never = world.assign(12).await;
    sqlx::query!("update sandbox set image = null")
        .execute(&world.pool)
        .await
        .unwrap();
    world.engine.state().image = Some("sha256:second".to_owned());
    let world = world.restart();
    world.sandboxes.pin_all().await.unwrap();
    assert_eq!(pinned(&world, awake).await.unwrap(), "sha256:first");
    assert_eq!(
        pinned(&world, asleep).await.unwrap(),
        "sha256:second",
        "nobody knows what it ran"
    );
    assert_eq!(
        pinned(&world, never).await,
        None,
        "it gets what is current then"
    );
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn whose_image_was_removed_wakes_with_the_current_one(pool: PgPool) {
    let world = World::new(pool);
    let (awake, asleep) = (world.wanted(10).await, world.wanted(11).await);
    world.settle().await;
    world.turn_ends(asleep);
    world.advance(31 * 60);
    world.settle().await;
    world.engine.state().image = Some("sha256:second".to_owned());
    world.engine.state().lost_images = vec!["sha256:first".to_owned()];
    let container = world.engine.of(awake).unwrap();
    world.opens(asleep);
    world.settle().await;
    assert_eq!(world.engine.of(asleep).unwrap().observed, Observed::Running);
    assert_eq!(runs(&world, asleep), "sha256:second");
    assert_eq!(pinned(&world, asleep).await.unwrap(), "sha256:second");
    assert_eq!(world.engine.of(awake).unwrap(), container, "it still runs");
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn the_pool_is_made_anew_with_the_new_image_and_whoever_was_given_one_keeps_it(pool: PgPool) {
    let world = World::with_places(pool, 10, 2);
    world.settle().await;
    let old = world.in_pool().await;
    assert_eq!(old.len(), 2);
    let given = world.wanted(10).await;
    assert!(old.contains(&given));
    world.engine.state().image = Some("sha256:second".to_owned());
    for _ in 0..3 {
        world.settle().await;
        world.advance(1);
    }
    let new = world.in_pool().await;
    assert_eq!(new.len(), 2);
    assert!(new.iter().all(|id| !old.contains(id)));
    for id in new {
        assert_eq!(runs(&world, id), "sha256:second");
    }
    assert_eq!(runs(&world, given), "sha256:first");
}
