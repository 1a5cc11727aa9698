//! Stories of upgrades, over an engine in memory, a real Postgres and a folder.

mod bad;
mod deaths;
mod good;

use sqlx::PgPool;

use super::{Which, Wish, look};
use crate::{
    backup::tests::{Story as Backups, volume},
    config::Backup,
    id::{SandboxId, UpgradeId},
    worker::{Progress, upgrade::Upgrading},
};

pub const FIRST: &str = "sha256:first";
pub const SECOND: &str = "sha256:second";

/// A worker that upgrades, all its surroundings in a test's hand.
pub struct Story {
    pub base: Backups,
    pub upgrading: Upgrading,
}

impl Story {
    pub async fn new(db: PgPool) -> Self {
        Self::of(Backups::new(db).await).await
    }

    async fn of(base: Backups) -> Self {
        let backing = &base.backing;
        let upgrading = Upgrading::new(
            base.world.pool.clone(),
            base.world.clock.clone(),
            backing.lease.clone(),
            base.world.sandboxes.clone(),
            base.key(),
            backing.settings.clone(),
        );
        upgrading.hold_those_begun().await.unwrap();
        // The walls are proven by the first pass.
        base.world.pass().await;
        Self { base, upgrading }
    }

    /// The worker dies and another takes its place. Nothing is known but what is stored.
    pub async fn dies(self) -> Self {
        drop(self.upgrading);
        Self::of(self.base.dies().await).await
    }

    /// From now on one may be awake at a time.
    pub async fn with_one_place(mut self) -> Self {
        self.base.world = self.base.world.restart_with_places(1, 0);
        Self::of(self.base).await
    }

    pub fn settings(&self) -> &Backup {
        self.base.backing.settings.as_ref().unwrap()
    }

    /// Somebody who was talked to, and sleeps.
    pub async fn sleeping(&self, n: u128, memory: &str) -> SandboxId {
        let world = &self.base.world;
        let id = world.wanted(n).await;
        self.base.talked_to(n, id).await;
        world.settle().await;
        self.base.holds(id, memory);
        world.answered(id).await;
        world.advance(31 * 60);
        world.settle().await;
        assert_eq!(world.engine.of(id), None);
        id
    }

    pub async fn asks(&self, which: Which, canaries: i32, max_failures: i32) -> UpgradeId {
        let wish = Wish {
            image: SECOND.to_owned(),
            reference: "image".to_owned(),
            which,
            canaries,
            max_failures,
            ready_within_seconds: 60,
            actor: "ana".to_owned(),
        };
        let mut conn = self.base.world.pool.acquire().await.unwrap();
        let asked = super::ask(&mut conn, &wish, self.base.now()).await;
        asked.unwrap().unwrap()
    }

    /// Everything that can be done now.
    pub async fn works(&self) {
        for _ in 0..50 {
            if self.upgrading.step().await.unwrap() == Progress::Idle {
                return;
            }
        }
        panic!("it never comes to an end");
    }

    /// State and outcome of an upgrade, and how many of its sandboxes are moved.
    pub async fn came_to(&self, id: UpgradeId) -> String {
        let db = &self.base.world.pool;
        let asked = look::asked(db, id).await.unwrap().unwrap();
        let tally = look::tally(db, id).await.unwrap();
        let outcome = asked.outcome.unwrap_or_default();
        format!("{} {outcome}, {} of {}", asked.state, tally.done, tally.all)
    }

    /// State and outcome for one sandbox.
    pub async fn part(&self, id: SandboxId) -> String {
        let row = sqlx::query!(
            "select state, outcome from upgrade_sandbox where sandbox_id = $1
             order by upgrade_id desc limit 1",
            id as SandboxId
        );
        let row = row.fetch_one(&self.base.world.pool).await.unwrap();
        let text = format!("{} {}", row.state, row.outcome.unwrap_or_default());
        text.trim().to_owned()
    }

    pub async fn image(&self, id: SandboxId) -> String {
        let image = sqlx::query_scalar!("select image from sandbox where id = $1", id as SandboxId);
        let image = image.fetch_one(&self.base.world.pool).await.unwrap();
        image.unwrap()
    }

    /// The image of the container that runs now.
    pub fn runs(&self, id: SandboxId) -> String {
        let engine = &self.base.world.engine;
        let container = engine.of(id);
        container
            .unwrap_or_else(|| panic!("{:?}", engine.log()))
            .image
    }

    /// The new image damages what it is given, and lets nobody in.
    pub fn new_image_is_bad(&self) {
        self.base.world.engine.state().spoils = Some((SECOND.to_owned(), volume("garbage")));
        self.base.world.gateway.is_shut(true);
    }

    /// The person writes and is let in, to an agent of this image that remembers this.
    pub async fn finds(&self, id: SandboxId, image: &str, memory: &str) {
        let world = &self.base.world;
        world.gateway.is_shut(false);
        world.opens(id);
        world.settle().await;
        assert_eq!(self.runs(id), image);
        assert_eq!(self.base.memory(id).unwrap(), memory);
        let endpoint = world.sandboxes.endpoint(id).await.unwrap();
        assert_eq!(endpoint.container_id, world.engine.of(id).unwrap().id);
        world.turn_ends(id);
    }
}
