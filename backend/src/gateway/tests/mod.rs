//! The gateway client against recorded transcripts, arbitrary input and a scripted gateway.

mod dialling;
mod frames;
mod questions;
mod scripted;
mod transcripts;
