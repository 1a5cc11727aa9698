//! What a hostile agent may put into a volume, and what becomes of it.

use std::io::Read;

use chrono::DateTime;
use tar::{Builder, EntryType, Header};

use crate::backup::archive::{Count, LIMITS, Limits, Manifest, Refused, pack, unpack};

fn of() -> Manifest {
    Manifest {
        kind: "sandbox".to_owned(),
        sandbox: uuid::Uuid::from_u128(7),
        taken_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        session_no: 3,
    }
}

/// A volume as Docker tells it.
struct Volume(Builder<Vec<u8>>);

impl Volume {
    fn new() -> Self {
        let mut volume = Self(Builder::new(Vec::new()));
        volume.add(EntryType::Directory, "state/", "", b"", 0o1777);
        volume
    }

    /// The name and target go in as they are, whatever they are.
    fn add(&mut self, kind: EntryType, name: &str, target: &str, content: &[u8], mode: u32) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(200_001);
        header.set_gid(200_001);
        header.set_mtime(1_790_000_000);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
    }

    fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.add(EntryType::Regular, name, "", content, 0o640);
        self
    }

    fn folder(mut self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", b"", 0o700);
        self
    }

    fn other(mut self, kind: EntryType, name: &str, target: &str) -> Self {
        self.add(kind, name, target, b"", 0o777);
        self
    }

    fn pack(self) -> (Vec<u8>, Count) {
        self.try_pack(LIMITS).unwrap()
    }

    fn try_pack(self, limits: Limits) -> anyhow::Result<(Vec<u8>, Count)> {
        let bytes = self.0.into_inner().unwrap();
        pack(bytes.as_slice(), Vec::new(), &of(), limits)
    }

    /// As if it were a snapshot of ours.
    fn into_snapshot(self) -> Vec<u8> {
        let bytes = self.0.into_inner().unwrap();
        let mut snapshot = Builder::new(Vec::new());
        let manifest = serde_json::to_vec(&of()).unwrap();
        let mut header = Header::new_gnu();
        header.set_size(manifest.len() as u64);
        snapshot
            .append_data(&mut header, "clawkaka.json", manifest.as_slice())
            .unwrap();
        let mut all = snapshot.into_inner().unwrap();
        all.truncate(all.len() - 1024);
        all.extend(bytes);
        all
    }
}

/// Kind, name, target and owner of each entry.
fn listed(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        let target = entry.link_name().unwrap();
        format!(
            "{:?} {:o} {} {}{}",
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            entry.path().unwrap().display(),
            target.map_or(String::new(), |target| format!(" -> {}", target.display()))
        )
    });
    entries.collect()
}

fn refusal<T>(done: anyhow::Result<T>) -> Refused {
    done.err().expect("it was taken").downcast().unwrap()
}

#[test]
fn files_folders_and_inner_links_come_back_as_the_sandboxs_own() {
    let (packed, count) = Volume::new()
        .folder("state/workspace")
        .file("state/workspace/MEMORY.md", b"likes tea")
        .other(
            EntryType::Symlink,
            "state/workspace/last",
            "../workspace/MEMORY.md",
        )
        .other(EntryType::Symlink, "state/abs", "/state/workspace")
        .other(EntryType::Link, "state/second", "state/workspace/MEMORY.md")
        .pack();
    assert_eq!((count.entries, count.bytes, count.skipped), (6, 9, 0));
    let (unpacked, manifest, _) = unpack(packed.as_slice(), Vec::new(), 300_007, LIMITS).unwrap();
    assert_eq!(manifest, of());
    assert_eq!(
        listed(&unpacked),
        [
            "Directory 700 300007 workspace",
            "Regular 640 300007 workspace/MEMORY.md",
            "Symlink 777 300007 workspace/last -> ../workspace/MEMORY.md",
            "Symlink 777 300007 abs -> /state/workspace",
            "Link 777 300007 second -> workspace/MEMORY.md",
        ]
    );
    let mut archive = tar::Archive::new(unpacked.as_slice());
    let mut text = String::new();
    let file = archive.entries().unwrap().nth(1).unwrap();
    file.unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "likes tea");
}

/// Everything that is neither file, folder nor inner link.
fn foreign() -> Vec<(&'static str, EntryType, &'static str, &'static str)> {
    use EntryType as Is;
    vec![
        ("a pipe", Is::Fifo, "state/pipe", ""),
        ("a device", Is::Char, "state/null", ""),
        ("a disk", Is::Block, "state/sda", ""),
        ("a link up", Is::Symlink, "state/up", "../etc/passwd"),
        (
            "a link up from below",
            Is::Symlink,
            "state/a/up",
            "../../etc",
        ),
        (
            "a link up through another",
            Is::Symlink,
            "state/up",
            "a/../../etc",
        ),
        ("a link out", Is::Symlink, "state/out", "/etc/passwd"),
        ("a link to the root", Is::Symlink, "state/root", "/"),
        ("a link to nothing", Is::Symlink, "state/empty", ""),
        (
            "a second name of what is outside",
            Is::Link,
            "state/hard",
            "../etc/passwd",
        ),
        (
            "a second name of what was not taken",
            Is::Link,
            "state/hard",
            "state/nowhere",
        ),
        (
            "a second name of a folder",
            Is::Link,
            "state/hard",
            "state/a",
        ),
        ("a name that leads up", Is::Regular, "state/a/../../x", ""),
        ("a name from the root", Is::Regular, "/etc/passwd", ""),
        ("a name beside it", Is::Regular, "other/x", ""),
        ("a file in no folder", Is::Regular, "state/b/x", ""),
        ("a file below a link", Is::Regular, "state/link/x", ""),
        (
            "a second file of the same name",
            Is::Regular,
            "state/once",
            "",
        ),
    ]
}

fn with_one(kind: EntryType, name: &str, target: &str) -> Volume {
    Volume::new()
        .folder("state/a")
        .file("state/once", b"once")
        .other(EntryType::Symlink, "state/link", "a")
        .other(kind, name, target)
        .file("state/a/kept", b"kept")
}

#[test]
fn what_is_foreign_is_left_out_of_a_snapshot_and_counted() {
    for (what, kind, name, target) in foreign() {
        let (packed, count) = with_one(kind, name, target).pack();
        assert_eq!(count.skipped, 1, "{what}");
        let names = listed(&packed).join("\n");
        assert!(
            names.contains("state/a/kept"),
            "{what} took the rest with it: {names}"
        );
        assert_eq!(listed(&packed).len(), 6, "{what}: {names}");
        unpack(packed.as_slice(), Vec::new(), 1, LIMITS).unwrap();
    }
}

#[test]
fn a_snapshot_that_holds_what_is_foreign_is_refused() {
    for (what, kind, name, target) in foreign() {
        let snapshot = with_one(kind, name, target).into_snapshot();
        let done = unpack(snapshot.as_slice(), Vec::new(), 1, LIMITS);
        assert!(matches!(refusal(done), Refused::Foreign(_)), "{what}");
    }
}

#[test]
fn the_rights_of_another_are_taken_away_on_the_way_out_and_refused_on_the_way_in() {
    let volume = || {
        let mut volume = Volume::new();
        volume.add(EntryType::Regular, "state/su", "", b"x", 0o6755);
        volume
    };
    let (packed, _) = volume().pack();
    assert!(listed(&packed).contains(&"Regular 755 0 state/su".to_owned()));
    let snapshot = volume().into_snapshot();
    let done = unpack(snapshot.as_slice(), Vec::new(), 1, LIMITS);
    assert!(matches!(refusal(done), Refused::Foreign(_)));
}

#[test]
fn what_is_too_much_is_refused_as_a_whole() {
    let limits = Limits {
        bytes: 100,
        entries: 4,
        path_bytes: 20,
        depth: 2,
    };
    let large = Volume::new()
        .file("state/a", &[0; 60])
        .file("state/b", &[0; 60]);
    assert_eq!(refusal(large.try_pack(limits)), Refused::TooLarge(100));
    let many = (0..5).fold(Volume::new(), |volume, n| {
        volume.file(&format!("state/{n}"), b"")
    });
    assert_eq!(refusal(many.try_pack(limits)), Refused::TooMany(4));
    let long = Volume::new().file("state/a-name-that-is-too-long", b"");
    assert_eq!(long.try_pack(limits).unwrap().1.skipped, 1);
    let deep = Volume::new()
        .folder("state/1")
        .folder("state/1/2")
        .folder("state/1/2/3");
    assert_eq!(deep.try_pack(limits).unwrap().1.skipped, 1);
}

#[test]
fn a_claimed_size_costs_nothing_before_it_is_refused() {
    let mut volume = Volume::new();
    let mut header = Header::new_gnu();
    header.set_size(1 << 50);
    header.set_path("state/claims").unwrap();
    header.set_cksum();
    volume.0.append(&header, std::io::empty()).unwrap();
    assert_eq!(
        refusal(volume.try_pack(LIMITS)),
        Refused::TooLarge(LIMITS.bytes)
    );
}

#[test]
fn what_is_no_snapshot_is_refused() {
    for bytes in [&b""[..], b"no archive", &[0; 2048]] {
        assert!(unpack(bytes, Vec::new(), 1, LIMITS).is_err());
    }
    let (packed, _) = Volume::new().file("state/a", &[1; 5_000]).pack();
    for length in [600, 2_000, 4_000] {
        assert!(
            unpack(&packed[..length], Vec::new(), 1, LIMITS).is_err(),
            "{length} bytes"
        );
    }
}
