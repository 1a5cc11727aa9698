//! The whole product. In the order in which a message travels:
//! `http` → `inbox` → `worker` → `turn` → `sandbox` → `gateway` → `outbox` → `whatsapp`.

pub mod broker;
pub mod clock;
pub mod config;
pub mod id;
pub mod lifecycle;
pub mod seal;

/// Every migration, embedded once.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");
