//! Stories that run the product's own parts on a real Postgres and real sockets.

mod identity;
mod operator;
pub mod support;
mod webhook;
