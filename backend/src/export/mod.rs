//! Everything that we hold of a person, in words that they can read: for `clawkaka tenant export`, and for
//! whoever asks for it in the chat (`worker/export`).

pub mod notes;
pub mod tables;
pub mod text;
