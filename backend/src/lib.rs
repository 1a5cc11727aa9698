//! The whole product. In the order in which a message travels:
//! `http` → `inbox` → `worker` → `turn` → `sandbox` → `gateway` → `outbox` → `whatsapp`.

pub mod clock;
pub mod config;
pub mod gateway;
pub mod id;
pub mod lifecycle;
pub mod seal;
