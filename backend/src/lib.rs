//! The whole product. In the order in which a message travels:
//! `http` → `inbox` → `worker` → `turn` → `sandbox` → `gateway` → `outbox` → `whatsapp`.

pub mod app;
pub mod backoff;
pub mod backup;
pub mod broker;
pub mod clock;
pub mod config;
pub mod copy;
pub mod export;
pub mod freeze;
pub mod gateway;
pub mod http;
pub mod id;
pub mod inbox;
pub mod lease;
pub mod lifecycle;
pub mod line;
pub mod media;
pub mod metric;
pub mod migrate;
pub mod operator;
pub mod outbox;
pub mod presence;
pub mod receipt;
pub mod reminder;
pub mod sandbox;
pub mod seal;
pub mod telemetry;
pub mod tenant;
pub mod transcribe;
pub mod turn;
pub mod upgrade;
pub mod wake;
pub mod whatsapp;
pub mod worker;

#[cfg(test)]
pub(crate) mod tests;

/// Every migration, embedded once.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");
