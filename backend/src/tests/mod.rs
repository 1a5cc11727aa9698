//! Stories that run the product's own parts on a real Postgres and real sockets.

mod batches;
mod identity;
mod support;
mod webhook;
