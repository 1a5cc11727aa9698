//! Stories of backups, over an engine in memory, a real Postgres and a folder.

mod archive;
mod erasing;
mod files;
mod holding;
mod tables;

use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    row::{self, Kind, Wish, look},
    seal::BackupKey,
    store::{Place, Store},
};
use crate::{
    config::Backup,
    id::{BackupId, SandboxId, TenantId, TurnId},
    lease::Lease,
    lifecycle::Shutdown,
    sandbox::tests::{World, tenant},
    tests::support::master,
    worker::{Progress, backup::Backing},
};

/// A worker with backups, all its surroundings in a test's hand.
pub struct Story {
    pub world: World,
    pub backing: Backing,
    pub folder: Folder,
}

/// Gone with the story.
pub struct Folder(PathBuf);

impl std::ops::Deref for Folder {
    type Target = PathBuf;

    fn deref(&self) -> &PathBuf {
        &self.0
    }
}

impl Story {
    pub async fn new(db: PgPool) -> Self {
        Self::with(db, "0s", 2).await
    }

    pub async fn with(db: PgPool, every: &str, keep: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("ck-backup-{}", Uuid::now_v7()));
        let folder = Folder(folder);
        let world = World::new(db);
        let backing = backing(&world, Place::Folder(folder.0.clone()), every, keep).await;
        Self {
            world,
            backing,
            folder,
        }
    }

    /// What is stored goes there from now on.
    pub async fn stores_at(&mut self, place: Place) {
        self.backing = backing(&self.world, place, "0s", 2).await;
    }

    /// The worker dies and another takes its place. Nothing is known but what is stored.
    pub async fn dies(self) -> Self {
        let Self {
            world,
            backing: dead,
            folder,
        } = self;
        drop(dead);
        sqlx::query!("update worker set lease_until = now() - interval '1 s'")
            .execute(&world.pool)
            .await
            .unwrap();
        let world = world.restart();
        let backing = backing(&world, Place::Folder(folder.0.clone()), "0s", 2).await;
        Self {
            world,
            backing,
            folder,
        }
    }

    pub fn store(&self) -> Store {
        Store::open(&Place::Folder(self.folder.0.clone())).unwrap()
    }

    pub fn key(&self) -> BackupKey {
        BackupKey::new(&master())
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.world.clock.now()
    }

    /// A sandbox that sleeps, was talked to, and holds this.
    pub async fn sleeping(&self, n: u128, memory: &str) -> SandboxId {
        let id = self.world.assign(n).await;
        self.talked_to(n, id).await;
        self.holds(id, memory);
        id
    }

    pub async fn talked_to(&self, n: u128, id: SandboxId) {
        sqlx::query!(
            "insert into turn (id, tenant_id, sandbox_id, trigger, state, created_at, deadline_at, done_at)
             values ($1, $2, $3, 'message', 'done', $4, $4, $4)",
            TurnId::new() as TurnId,
            tenant(n) as TenantId,
            id as SandboxId,
            self.now(),
        )
        .execute(&self.world.pool)
        .await
        .unwrap();
    }

    pub fn holds(&self, id: SandboxId, memory: &str) {
        let mut state = self.world.engine.state();
        state.files.insert(id, volume(memory));
        if !state.volumes.contains(&id) {
            state.volumes.push(id);
        }
    }

    /// What its volume holds now.
    pub fn memory(&self, id: SandboxId) -> Option<String> {
        let files = self.world.engine.state().files.get(&id).cloned()?;
        let mut archive = tar::Archive::new(&*files);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().ends_with("MEMORY.md") {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
                return Some(text);
            }
        }
        None
    }

    pub async fn asks(
        &self,
        kind: Kind,
        sandbox: Option<SandboxId>,
        object: Option<&str>,
    ) -> BackupId {
        let wish = Wish {
            kind,
            parent: None,
            sandbox,
            object: object.map(str::to_owned),
            actor: Some("ana".to_owned()),
        };
        row::ask(&self.world.pool, &wish, self.now()).await.unwrap()
    }

    /// Everything that can be done now.
    pub async fn works(&self) {
        for _ in 0..100 {
            if self.backing.step().await.unwrap() == Progress::Idle {
                return;
            }
        }
        panic!("it never comes to an end");
    }

    /// State and outcome of what was asked for.
    pub async fn came_to(&self, id: BackupId) -> String {
        let asked = look::asked(&self.world.pool, id).await.unwrap().unwrap();
        let outcome = asked.outcome.unwrap_or_default();
        format!("{} {outcome}", asked.state.as_str())
            .trim()
            .to_owned()
    }

    pub async fn snapshots(&self, id: SandboxId) -> Vec<String> {
        let found = self.store().list(&format!("sandbox/{id}")).await.unwrap();
        found.into_iter().map(|object| object.name).collect()
    }

    pub fn later(&self, seconds: i64) {
        self.world.clock.advance(TimeDelta::seconds(seconds));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn backing(world: &World, place: Place, every: &str, keep: usize) -> Backing {
    let lease = Lease::acquire(&world.pool, "host", &Shutdown::default()).await;
    let settings = Backup {
        to: place,
        every: humantime::parse_duration(every).unwrap(),
        keep,
    };
    let backing = Backing::new(
        world.pool.clone(),
        world.clock.clone(),
        lease.unwrap().0,
        world.sandboxes.clone(),
        BackupKey::new(&master()),
        Some(settings),
    );
    backing.hold_those_to_restore().await.unwrap();
    backing
}

/// A volume with an agent's memory, as Docker tells it.
pub fn volume(memory: &str) -> Bytes {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind, name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o700);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    };
    add(tar::EntryType::Directory, "state/", b"");
    add(tar::EntryType::Directory, "state/workspace/", b"");
    add(
        tar::EntryType::Regular,
        "state/workspace/MEMORY.md",
        memory.as_bytes(),
    );
    builder.into_inner().unwrap().into()
}
