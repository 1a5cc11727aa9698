//! Stories that run the product's own parts on a real Postgres and real sockets.

mod figures;
mod identity;
mod retention;
mod routing;
mod support;
mod traces;
mod webhook;
