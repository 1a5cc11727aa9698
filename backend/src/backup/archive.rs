//! The files of a sandbox as an archive, on their way out of its volume and back into one. Pure.
//!
//! A hostile agent chose everything in there. On the way out ([`pack`]) only plain files, folders
//! and links that stay inside are taken, with nothing of theirs but name, content, time and the nine
//! bits of who may read it; the rest (sockets, pipes, devices, links that lead out) is left out and
//! counted, so that nobody can spoil their own backup by making one. What is too much is refused
//! as a whole. On the way back ([`unpack`]) the same rules hold without mercy: an archive of ours
//! has nothing else in it, so that one that has is not ours.

use std::{
    collections::HashMap,
    io::{Read, Write},
    path::{Component, Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tar::{Builder, Entry, EntryType, Header};

/// Where the files are inside of the archive; Docker names them so as well.
const ROOT: &str = "state";
/// The first entry says what the archive is.
const MANIFEST: &str = "clawkaka.json";
const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// What a snapshot may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of all files together, uncompressed.
    pub bytes: u64,
    pub entries: u64,
    /// Of a name with its folders, or of where a link leads.
    pub path_bytes: usize,
    pub depth: usize,
}

/// Far above what a real agent keeps, and bearable: at 50 MB/s it takes 80 s.
pub const LIMITS: Limits = Limits {
    bytes: 4 << 30,
    entries: 200_000,
    path_bytes: 1_024,
    depth: 64,
};

/// Why an archive is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("its files are larger than {0} bytes")]
    TooLarge(u64),
    #[error("it has more than {0} files")]
    TooMany(u64),
    #[error("it holds {0}, which no snapshot of ours does")]
    Foreign(&'static str),
}

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `sandbox`.
    pub kind: String,
    pub sandbox: uuid::Uuid,
    pub taken_at: chrono::DateTime<chrono::Utc>,
    pub session_no: i32,
}

/// What was packed or unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub entries: u64,
    pub bytes: u64,
    /// Neither plain files nor folders nor inner links.
    pub skipped: u64,
}

/// What an entry is to us.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Symlink(PathBuf),
    Hardlink(PathBuf),
}

/// Writes what Docker read out of a volume as an archive of ours.
pub fn pack<W: Write>(
    from: impl Read,
    to: W,
    manifest: &Manifest,
    limits: Limits,
) -> anyhow::Result<(W, Count)> {
    let mut builder = Builder::new(to);
    let text = serde_json::to_vec(manifest).context("write a manifest")?;
    let mut header = plain_header(EntryType::Regular, 0o600, 0, 0);
    header.set_size(text.len() as u64);
    builder.append_data(&mut header, MANIFEST, text.as_slice())?;

    let mut seen = Seen::new(limits);
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries().context("read a volume")? {
        let mut entry = entry.context("read a volume")?;
        let Some((path, kind)) = seen.look(&entry)? else {
            continue;
        };
        append(&mut builder, &mut entry, ROOT.as_ref(), &path, &kind, 0)
            .context("read a volume")?;
    }
    let to = builder.into_inner().context("write a snapshot")?;
    Ok((to, seen.count))
}

/// Writes an archive of ours as one for Docker to put into a volume, owned by `uid`. Reads all of
/// it; what is behind the archive's end is for the caller to look at.
pub fn unpack<W: Write>(
    from: impl Read,
    to: W,
    uid: u32,
    limits: Limits,
) -> anyhow::Result<(W, Manifest, Count)> {
    let mut builder = Builder::new(to);
    let mut seen = Seen::new(limits);
    let mut archive = tar::Archive::new(from);
    let mut entries = archive.entries().context("read a snapshot")?;
    let manifest = entries.next().context("read a snapshot: it is empty")?;
    let manifest = read_manifest(manifest.context("read a snapshot")?)?;
    for entry in entries {
        let mut entry = entry.context("read a snapshot")?;
        let Some((path, kind)) = seen.look(&entry)? else {
            return Err(
                Refused::Foreign("something that is neither file, folder nor inner link").into(),
            );
        };
        if entry.header().mode().context("read a snapshot")? & !0o777 != 0 {
            return Err(Refused::Foreign("a file with the rights of another").into());
        }
        if !path.as_os_str().is_empty() {
            let root = Path::new("");
            append(&mut builder, &mut entry, root, &path, &kind, uid).context("read a snapshot")?;
        }
    }
    let to = builder.into_inner().context("unpack a snapshot")?;
    Ok((to, manifest, seen.count))
}

/// Hands every plain file of an archive of ours to `take`, by its path below the root; links are for
/// the sandbox alone.
pub fn files(
    from: impl Read,
    limits: Limits,
    take: impl FnMut(&Path, u64, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<Manifest> {
    let mut archive = tar::Archive::new(from);
    let mut entries = archive.entries().context("read a snapshot")?;
    let manifest = entries.next().context("read a snapshot: it is empty")?;
    let manifest = read_manifest(manifest.context("read a snapshot")?)?;
    hand_out(entries, limits, take)?;
    Ok(manifest)
}

/// Does so with what Docker read out of a volume.
pub fn each_file(
    from: impl Read,
    limits: Limits,
    take: impl FnMut(&Path, u64, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(from);
    hand_out(archive.entries().context("read a volume")?, limits, take)
}

fn hand_out<'a, R: Read + 'a>(
    entries: tar::Entries<'a, R>,
    limits: Limits,
    mut take: impl FnMut(&Path, u64, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut seen = Seen::new(limits);
    for entry in entries {
        let mut entry = entry.context("read an archive")?;
        if let Some((path, Kind::File)) = seen.look(&entry)? {
            let size = entry.size();
            take(&path, size, &mut entry)?;
        }
    }
    Ok(())
}

fn read_manifest(entry: Entry<'_, impl Read>) -> anyhow::Result<Manifest> {
    if entry.path_bytes().as_ref() != MANIFEST.as_bytes() || !entry.header().entry_type().is_file()
    {
        return Err(Refused::Foreign("no manifest").into());
    }
    serde_json::from_reader(entry.take(MAX_MANIFEST_BYTES)).context("read a snapshot's manifest")
}

fn plain_header(kind: EntryType, mode: u32, mtime: u64, uid: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o777);
    // Time may lie: beyond this no file system of ours keeps it.
    header.set_mtime(mtime.min(u32::MAX.into()));
    header.set_uid(uid.into());
    header.set_gid(uid.into());
    header.set_size(0);
    header
}

/// Nothing of the entry's own header gets through but mode and time.
fn append(
    builder: &mut Builder<impl Write>,
    entry: &mut Entry<'_, impl Read>,
    root: &Path,
    path: &Path,
    kind: &Kind,
    uid: u32,
) -> anyhow::Result<()> {
    let at = root.join(path);
    let (mode, mtime) = (entry.header().mode()?, entry.header().mtime().unwrap_or(0));
    let header = |kind| plain_header(kind, mode, mtime, uid);
    match kind {
        Kind::File => {
            let mut header = header(EntryType::Regular);
            header.set_size(entry.size());
            builder.append_data(&mut header, at, entry)?;
        }
        Kind::Folder => {
            builder.append_data(&mut header(EntryType::Directory), at, std::io::empty())?;
        }
        Kind::Symlink(target) => {
            builder.append_link(&mut header(EntryType::Symlink), at, target)?;
        }
        Kind::Hardlink(target) => {
            builder.append_link(&mut header(EntryType::Link), at, root.join(target))?;
        }
    }
    Ok(())
}

/// What an archive has shown so far.
struct Seen {
    limits: Limits,
    count: Count,
    /// By path below the root: whether it is a folder.
    taken: HashMap<PathBuf, Taken>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    File,
    Folder,
    Link,
}

impl Seen {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            count: Count::default(),
            taken: HashMap::from([(PathBuf::new(), Taken::Folder)]),
        }
    }

    /// Where an entry belongs, and as what. None: it is left out.
    fn look(&mut self, entry: &Entry<'_, impl Read>) -> anyhow::Result<Option<(PathBuf, Kind)>> {
        self.count.entries += 1;
        if self.count.entries > self.limits.entries {
            return Err(Refused::TooMany(self.limits.entries).into());
        }
        // Also of what is left out: it has to be read.
        self.count.bytes = self.count.bytes.saturating_add(entry.size());
        if self.count.bytes > self.limits.bytes {
            return Err(Refused::TooLarge(self.limits.bytes).into());
        }
        let path = entry.path().context("read the name of a file")?;
        let path = self.inside(&path).filter(|path| {
            // Below a folder that was taken: never through a link.
            let parent = path.parent().and_then(|parent| self.taken.get(parent));
            path.as_os_str().is_empty() || parent == Some(&Taken::Folder)
        });
        let Some(path) = path else {
            self.count.skipped += 1;
            return Ok(None);
        };
        let target = entry.link_name().context("read where a link leads")?;
        let kind = match entry.header().entry_type() {
            EntryType::Regular => Some(Kind::File),
            EntryType::Directory => Some(Kind::Folder),
            EntryType::Symlink => target.and_then(|target| self.symlink(&path, &target)),
            EntryType::Link => target.and_then(|target| self.hardlink(&target)),
            _ => None,
        };
        let taken = match &kind {
            Some(Kind::File | Kind::Hardlink(_)) => Taken::File,
            Some(Kind::Folder) => Taken::Folder,
            Some(Kind::Symlink(_)) => Taken::Link,
            None => {
                self.count.skipped += 1;
                return Ok(None);
            }
        };
        // The root stays what it is; a name that comes twice would be written twice.
        let twice = self.taken.contains_key(&path);
        if twice && !(path.as_os_str().is_empty() && taken == Taken::Folder) {
            self.count.skipped += 1;
            return Ok(None);
        }
        self.taken.insert(path.clone(), taken);
        Ok(kind.map(|kind| (path, kind)))
    }

    /// The path below the root, if it is one and not too long.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        if path.as_os_str().len() > self.limits.path_bytes {
            return None;
        }
        let mut clean = PathBuf::new();
        let mut parts = path.components().filter(|part| *part != Component::CurDir);
        if parts.next()? != Component::Normal(ROOT.as_ref()) {
            return None;
        }
        for part in parts {
            let Component::Normal(name) = part else {
                return None;
            };
            clean.push(name);
        }
        (clean.components().count() <= self.limits.depth).then_some(clean)
    }

    /// It may lead nowhere, but not out. Up comes first: after a name, which may be a link itself, it
    /// could lead anywhere.
    fn symlink(&self, path: &Path, target: &Path) -> Option<Kind> {
        if target.as_os_str().len() > self.limits.path_bytes || target.as_os_str().is_empty() {
            return None;
        }
        let mut depth = path.components().count().checked_sub(1)?;
        let mut parts = target.components().peekable();
        let mut down = false;
        if parts.next_if_eq(&Component::RootDir).is_some() {
            // Absolute, inside of the sandbox: only into the volume.
            if parts.next() != Some(Component::Normal(ROOT.as_ref())) {
                return None;
            }
            down = true;
        }
        for part in parts {
            match part {
                Component::Normal(_) => down = true,
                Component::CurDir => {}
                Component::ParentDir if !down => depth = depth.checked_sub(1)?,
                _ => return None,
            }
        }
        Some(Kind::Symlink(target.to_owned()))
    }

    /// A second name of a file that was taken.
    fn hardlink(&self, target: &Path) -> Option<Kind> {
        let target = self.inside(target)?;
        (self.taken.get(&target) == Some(&Taken::File)).then_some(Kind::Hardlink(target))
    }
}
