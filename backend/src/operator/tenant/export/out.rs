//! Where an export is written: a folder or an archive, new, and readable by its owner alone.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;

const LEVEL: i32 = 3;

pub enum Out {
    Folder(PathBuf),
    Archive(Box<tar::Builder<zstd::Encoder<'static, File>>>),
}

impl Out {
    pub fn create(to: &Path) -> anyhow::Result<Self> {
        if !to.to_string_lossy().ends_with(".tar.zst") {
            DirBuilder::new().mode(0o700).create(to)?;
            return Ok(Self::Folder(to.to_owned()));
        }
        let file = new_file(to)?;
        let compressed = zstd::Encoder::new(file, LEVEL)?;
        Ok(Self::Archive(Box::new(tar::Builder::new(compressed))))
    }

    /// Adds a file. Names were checked: they lead below the folder, and through no link.
    pub fn add(&mut self, name: &str, length: u64, content: &mut dyn Read) -> anyhow::Result<()> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                if let Some(parent) = path.parent() {
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(parent)?;
                }
                let written = new_file(&path).and_then(|mut file| io::copy(content, &mut file));
                written.with_context(|| format!("write {name}"))?;
            }
            Self::Archive(builder) => {
                let mut header = tar::Header::new_gnu();
                header.set_mode(0o600);
                header.set_size(length);
                let added = builder.append_data(&mut header, name, content);
                added.with_context(|| format!("write {name}"))?;
            }
        }
        Ok(())
    }

    pub fn finish(self) -> anyhow::Result<()> {
        if let Self::Archive(builder) = self {
            let mut file = builder.into_inner()?.finish()?;
            file.flush().context("write an export")?;
            file.sync_all().context("write an export")?;
        }
        Ok(())
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_and_an_archive_hold_the_same_and_nothing_is_written_over() {
        let place = std::env::temp_dir().join(format!("ck-export-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&place).unwrap();
        for name in ["folder", "all.tar.zst"] {
            let to = place.join(name);
            let mut out = Out::create(&to).unwrap();
            out.add("agent/workspace/MEMORY.md", 9, &mut &b"likes tea"[..])
                .unwrap();
            out.finish().unwrap();
            assert!(Out::create(&to).is_err(), "{name} was made twice");
        }
        let text = fs::read_to_string(place.join("folder/agent/workspace/MEMORY.md")).unwrap();
        assert_eq!(text, "likes tea");
        let packed = zstd::Decoder::new(File::open(place.join("all.tar.zst")).unwrap()).unwrap();
        let mut archive = tar::Archive::new(packed);
        let mut text = String::new();
        let mut file = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(
            file.path().unwrap().to_str(),
            Some("agent/workspace/MEMORY.md")
        );
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "likes tea");
        fs::remove_dir_all(place).unwrap();
    }
}
