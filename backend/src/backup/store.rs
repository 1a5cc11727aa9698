//! Where backups are: a folder, or anything that speaks S3.
//!
//! ```text
//! sandbox/<sandbox id>/<time>     the files of one sandbox
//! database/<time>                 every table
//! erased/<keyed hash>             who was erased, so that an older backup erases them again
//! ```
//! A name's time is UTC and sorts. An object is there as a whole or not at all, in both kinds.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use futures_util::TryStreamExt;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::AmazonS3Builder,
    buffered::{BufReader, BufWriter},
    local::LocalFileSystem,
    path::Path,
    prefix::PrefixStore,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::id::SandboxId;

/// A part of an upload; S3 takes 10,000 of them.
const PART_BYTES: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 2;
/// Of one request, which moves a part at most: a line of 1.5 Mbit/s is enough.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_FOR: Duration = Duration::from_secs(60);
/// Of a name: to the millisecond, and no character that a file system or S3 minds.
const STAMP: &str = "%Y%m%dT%H%M%S%3fZ";

/// Where to, as the settings say.
#[derive(Clone, Debug)]
pub enum Place {
    Folder(PathBuf),
    S3(S3),
}

#[derive(Clone, Debug)]
pub struct S3 {
    pub bucket: String,
    pub prefix: String,
    /// Empty: Amazon's own.
    pub endpoint: Option<Url>,
    pub region: String,
    /// Empty: what the machine is given by its cloud.
    pub access_key_id: SecretString,
    pub secret_access_key: SecretString,
    pub session_token: SecretString,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub name: String,
    pub bytes: u64,
    /// Of its name: when what it holds was taken.
    pub at: DateTime<Utc>,
}

#[derive(Clone)]
pub struct Store(Arc<dyn ObjectStore>);

impl Store {
    /// Opens it; a folder must be there or be made, of S3 nothing is asked yet.
    pub fn open(place: &Place) -> anyhow::Result<Self> {
        Ok(Self(match place {
            Place::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("make the folder {} (BACKUP_TO)", folder.display()))?;
                let store = LocalFileSystem::new_with_prefix(folder)
                    .context("open the folder for backups (BACKUP_TO)")?;
                // A backup that a power cut takes back was none.
                Arc::new(store.with_fsync(true).with_automatic_cleanup(false))
            }
            Place::S3(s3) => s3
                .open()
                .context("open the store for backups (BACKUP_TO)")?,
        }))
    }

    /// Nothing is there before it is shut down.
    pub fn write(&self, name: &str) -> BufWriter {
        BufWriter::with_capacity(self.0.clone(), Path::from(name), PART_BYTES)
            .with_max_concurrency(PARTS_AT_ONCE)
    }

    /// Part by part, so that one that takes long is not one request that takes too long.
    pub async fn read(&self, name: &str) -> anyhow::Result<BufReader> {
        let found = self.0.head(&Path::from(name)).await;
        let found = found.with_context(|| format!("read {name} of the backups"))?;
        Ok(BufReader::with_capacity(self.0.clone(), &found, PART_BYTES))
    }

    /// What is in one of its folders, the newest first.
    pub async fn list(&self, folder: &str) -> anyhow::Result<Vec<Object>> {
        let path = Path::from(folder);
        let found = self.0.list(Some(&path)).try_collect::<Vec<_>>().await;
        let found = found.with_context(|| format!("list {folder} of the backups"))?;
        let mut objects: Vec<_> = found
            .into_iter()
            .filter_map(|object| {
                Some(Object {
                    at: time(object.location.filename()?)?,
                    name: object.location.to_string(),
                    bytes: object.size,
                })
            })
            .collect();
        objects.sort_by(|one, other| other.name.cmp(&one.name));
        Ok(objects)
    }

    /// What is in one of its folders, in no order, whatever it is called.
    pub async fn names(&self, folder: &str) -> anyhow::Result<Vec<String>> {
        let path = Path::from(folder);
        let found = self.0.list(Some(&path));
        let found = found.map_ok(|object| object.location.to_string());
        let found = found.try_collect().await;
        found.with_context(|| format!("list {folder} of the backups"))
    }

    /// Deletes all but so many of the newest.
    pub async fn keep_newest(&self, folder: &str, keep: usize) -> anyhow::Result<()> {
        for old in self.list(folder).await?.into_iter().skip(keep) {
            self.delete(&old.name).await?;
        }
        Ok(())
    }

    /// One that is not there is no error.
    pub async fn delete(&self, name: &str) -> anyhow::Result<()> {
        match self.0.delete(&Path::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("delete {name} of the backups")),
        }
    }

    /// Writes, reads and deletes something, for the doctor.
    pub async fn try_out(&self) -> anyhow::Result<()> {
        let path = Path::from(format!("try/{}", uuid::Uuid::now_v7()));
        let put = self.0.put(&path, Bytes::from_static(b"try").into()).await;
        put.context("write to it")?;
        let read = self.0.get(&path).await.context("read from it")?;
        let read = read.bytes().await.context("read from it")?;
        self.0.delete(&path).await.context("delete in it")?;
        ensure!(
            read.as_ref() == b"try",
            "it gives back something else than it was given"
        );
        Ok(())
    }
}

impl S3 {
    fn open(&self) -> anyhow::Result<Arc<dyn ObjectStore>> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_client_options(ClientOptions::new().with_timeout(REQUEST_TIMEOUT))
            .with_retry(RetryConfig {
                retry_timeout: RETRY_FOR,
                ..RetryConfig::default()
            });
        if let Some(endpoint) = &self.endpoint {
            builder = builder
                .with_endpoint(endpoint.as_str().trim_end_matches('/'))
                .with_allow_http(endpoint.scheme() == "http");
        }
        let secret = |secret: &SecretString| secret.expose_secret().to_owned();
        if !self.access_key_id.expose_secret().is_empty() {
            builder = builder
                .with_access_key_id(secret(&self.access_key_id))
                .with_secret_access_key(secret(&self.secret_access_key));
        }
        if !self.session_token.expose_secret().is_empty() {
            builder = builder.with_token(secret(&self.session_token));
        }
        let store = builder.build()?;
        Ok(match self.prefix.is_empty() {
            true => Arc::new(store),
            false => Arc::new(PrefixStore::new(store, self.prefix.as_str())),
        })
    }
}

/// The name of a sandbox's snapshot.
pub fn snapshot(sandbox: SandboxId, at: DateTime<Utc>) -> String {
    format!("{}/{}", snapshots(sandbox), stamp(at))
}

/// The folder of a sandbox's snapshots.
pub fn snapshots(sandbox: SandboxId) -> String {
    format!("sandbox/{sandbox}")
}

pub const DATABASE: &str = "database";
pub const ERASED: &str = "erased";

pub fn database(at: DateTime<Utc>) -> String {
    format!("{DATABASE}/{}", stamp(at))
}

pub fn stamp(at: DateTime<Utc>) -> String {
    at.format(STAMP).to_string()
}

/// The time of a name; None: it is none of ours.
fn time(stamp: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?;
    Some(time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_sorts() {
        let at = DateTime::from_timestamp_millis(1_790_000_000_123).unwrap();
        assert_eq!(stamp(at), "20260921T141320123Z");
        assert_eq!(time(&stamp(at)), Some(at));
        assert_eq!(time("notes.txt"), None);
    }

    #[tokio::test]
    async fn a_folder_gives_back_what_it_was_given_newest_first() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let folder = std::env::temp_dir().join(format!("ck-store-{}", uuid::Uuid::now_v7()));
        let store = Store::open(&Place::Folder(folder.clone())).unwrap();
        store.try_out().await.unwrap();
        let id = SandboxId::new();
        let at = |seconds: i64| DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap();
        for seconds in [0, 1] {
            let mut to = store.write(&snapshot(id, at(seconds)));
            to.write_all(&[seconds as u8; 10]).await.unwrap();
            to.shutdown().await.unwrap();
        }
        // Never shut down: a process that died.
        let mut half = store.write(&snapshot(id, at(2)));
        half.write_all(&vec![0; 2 * PART_BYTES]).await.unwrap();
        drop(half);
        let found = store.list(&snapshots(id)).await.unwrap();
        let times: Vec<_> = found.iter().map(|object| object.at).collect();
        assert_eq!(
            times,
            [at(1), at(0)],
            "and nothing of the one that was cut off"
        );
        let mut read = Vec::new();
        let mut from = store.read(&found[0].name).await.unwrap();
        from.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [1; 10]);
        store.delete(&found[0].name).await.unwrap();
        store.delete(&found[0].name).await.unwrap();
        assert_eq!(store.list(&snapshots(id)).await.unwrap().len(), 1);

        let large: Vec<u8> = (0..2 * PART_BYTES + 10)
            .map(|at| (at % 251) as u8)
            .collect();
        let name = snapshot(id, at(3));
        let mut to = store.write(&name);
        to.write_all(&large).await.unwrap();
        to.shutdown().await.unwrap();
        let mut read = Vec::new();
        let mut from = store.read(&name).await.unwrap();
        from.read_to_end(&mut read).await.unwrap();
        assert!(read == large, "in parts");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
