//! Stories that run the product's own parts on a real Postgres and real sockets.

mod identity;
mod migrating;
mod support;
mod webhook;
