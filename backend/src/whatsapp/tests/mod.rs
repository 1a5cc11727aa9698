//! What is longer than the foot of a file: fixtures, wires, tables of examples, arbitrary input.

mod arbitrary;
mod client;
mod event;
mod format;
mod meta;
mod split;
