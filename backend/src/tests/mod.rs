//! Stories that run the product's own parts on a real Postgres and real sockets.

mod admission;
mod asked;
mod batches;
mod calls;
mod conformance;
mod consent;
mod desk;
mod figures;
mod groups;
mod identity;
mod lines;
mod manners;
mod migrating;
mod operator;
mod provider;
mod retention;
mod routing;
pub mod support;
mod traces;
mod webhook;
