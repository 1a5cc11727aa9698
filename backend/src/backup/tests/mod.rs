//! Stories of backups.

mod archive;
