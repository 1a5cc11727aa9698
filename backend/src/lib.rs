//! The whole product. In the order in which a message travels:
//! `http` → `inbox` → `worker` → `turn` → `sandbox` → `gateway` → `outbox` → `whatsapp`.

pub mod backoff;
pub mod clock;
pub mod config;
pub mod id;
pub mod lifecycle;
pub mod line;
pub mod outbox;
pub mod presence;
pub mod receipt;
pub mod seal;
pub mod tenant;
pub mod whatsapp;
pub mod worker;

/// Every migration, embedded.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");
