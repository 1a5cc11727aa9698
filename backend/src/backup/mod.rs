//! Backups: everything it takes to bring a deployment back, in a folder or at anything that speaks
//! S3.
//!
//! From the inside out an object is a tar archive ([`archive`]), compressed with zstd, sealed with a
//! key of the master key's ([`seal`]), in the [`store`]. There are two kinds: the files of one
//! sandbox ([`snapshot`]) and every table ([`database`]). The worker's station `worker/backup` does
//! what the rows of the table `backup` ([`row`]) ask for; commands and the schedule ask.

pub mod archive;
pub mod database;
pub mod erase;
pub mod pipe;
pub mod row;
pub mod seal;
pub mod snapshot;
pub mod store;
pub mod tombstone;
pub mod whole;

#[cfg(test)]
pub(crate) mod tests;
