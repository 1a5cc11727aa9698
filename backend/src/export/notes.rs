//! What an agent wrote down for its person: the texts in its workspace, out of the archive of its volume.
//!
//! Pure. A hostile agent chose everything in there: names and links are those that `backup::archive` lets
//! through, and no more is held in memory than a limit.

use std::{io::Read, path::Path};

use anyhow::Context;

use crate::{
    backup::archive::{self, LIMITS},
    sandbox::files::WORKSPACE,
};

/// Of one text. A note has some kB; what is longer is a file of data.
const MAX_NOTE_BYTES: u64 = 1 << 20;
/// Of all of them, so that the whole goes as one document (16 MB, `whatsapp::sendable`).
const MAX_BYTES: u64 = 8 << 20;
/// Files that are named. Who has more has them made by a program.
const MAX_NOTES: usize = 2_000;
/// Ours: what we tell the agent.
const OURS: &str = "AGENTS.md";

/// A file in the workspace.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    pub name: String,
    pub bytes: u64,
    /// None: it is no text, or too long.
    pub text: Option<String>,
}

pub fn read(volume: impl Read) -> anyhow::Result<Vec<Note>> {
    let (mut notes, mut held) = (Vec::new(), 0);
    archive::each_file(volume, LIMITS, |path, bytes, content| {
        let Some(name) = name(path).filter(|_| notes.len() < MAX_NOTES) else {
            return Ok(());
        };
        let mut text = None;
        if bytes <= MAX_NOTE_BYTES && held + bytes <= MAX_BYTES {
            let mut all = Vec::with_capacity(bytes as usize);
            content.read_to_end(&mut all).context("read a note")?;
            text = String::from_utf8(all).ok();
            text = text.filter(|text| !text.contains('\0'));
            held += text.as_ref().map_or(0, |_| bytes);
        }
        notes.push(Note { name, bytes, text });
        Ok(())
    })?;
    notes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(notes)
}

/// Below the workspace, for a person to read.
fn name(path: &Path) -> Option<String> {
    let path = path.strip_prefix(WORKSPACE).ok()?;
    let name = path.to_string_lossy().replace(char::is_control, " ");
    (name != OURS).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: tar::EntryType, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content).unwrap();
        };
        for folder in [
            "state",
            "state/workspace",
            "state/workspace/inbox",
            "state/openclaw",
        ] {
            add(folder, tar::EntryType::Directory, b"");
        }
        for (path, content) in files {
            add(path, tar::EntryType::Regular, content);
        }
        builder.into_inner().unwrap()
    }

    fn note(name: &str, bytes: u64, text: Option<&str>) -> Note {
        Note {
            name: name.to_owned(),
            bytes,
            text: text.map(str::to_owned),
        }
    }

    #[test]
    fn the_notes_are_the_texts_of_the_workspace_and_nothing_of_the_gateways() {
        let long = vec![b'a'; MAX_NOTE_BYTES as usize + 1];
        let volume = volume(&[
            ("state/openclaw/openclaw.json", b"{\"token\":1}"),
            ("state/workspace/AGENTS.md", b"Our words"),
            ("state/workspace/USER.md", "Anna, t\u{e4}glich".as_bytes()),
            ("state/workspace/MEMORY.md", b"likes tea"),
            ("state/workspace/inbox/photo.png", b"\x89PNG\0"),
            ("state/workspace/log.txt", &long),
        ]);
        let expected = [
            note("MEMORY.md", 9, Some("likes tea")),
            note("USER.md", 14, Some("Anna, t\u{e4}glich")),
            note("inbox/photo.png", 5, None),
            note("log.txt", long.len() as u64, None),
        ];
        assert_eq!(read(volume.as_slice()).unwrap(), expected);
    }

    #[test]
    fn no_more_is_held_than_goes_into_one_document() {
        let names: Vec<_> = (10..30)
            .map(|number| format!("state/workspace/{number}.txt"))
            .collect();
        let full = vec![b'a'; MAX_NOTE_BYTES as usize];
        let files: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), full.as_slice()))
            .collect();
        let notes = read(volume(&files).as_slice()).unwrap();
        let whole = notes.iter().filter(|note| note.text.is_some()).count();
        assert_eq!((notes.len(), whole), (20, 8));
    }
}
