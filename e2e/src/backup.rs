//! Backups: a product that keeps them in a folder, the moments of one, and when it is over.

use anyhow::Context as _;

use crate::{Person, Product, command, crowd};

/// What is done with the files of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Backup,
    /// What was first backed up is put back.
    Restore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The worker has just taken it up.
    Taken,
    /// It is reading or filling the volume.
    AtItsFiles,
}

/// Somebody of whom there is a snapshot, and who went on talking.
pub struct BackedUp {
    pub product: Product,
    pub person: [Person; 1],
    pub sandbox: String,
    /// Said before it.
    pub first: Vec<String>,
    /// Said after it.
    pub second: Vec<String>,
}

impl BackedUp {
    pub async fn start() -> anyhow::Result<Self> {
        let product = Product::with_backups().await?;
        let person = [crowd::person(1)];
        let first = product.all_say(&person, "first").await?;
        product.exactly_one_each(&person, &first).await?;
        let sandbox = product.sandbox_of(&person[0]).await?;
        product.operate(&["sandbox", "backup", &sandbox]).await?;
        let second = product.all_say(&person, "second").await?;
        product.exactly_one_each(&person, &second).await?;
        Ok(Self {
            product,
            person,
            sandbox,
            first,
            second,
        })
    }
}

impl Product {
    /// Backs up to the folder `backups` beside the deployment's own, and only when it is told to.
    pub async fn with_backups() -> anyhow::Result<Self> {
        let mut product = Self::prepare(&[]).await?;
        let folder = product.place.folder.join("backups");
        product.set("BACKUP_TO", &folder.to_string_lossy());
        product.set("BACKUP_EVERY", "0s");
        product.up().await
    }

    /// An operator wants it done to a sandbox; waits for that moment of it.
    pub async fn at_work(&self, sandbox: &str, work: Work, moment: Moment) -> anyhow::Result<()> {
        let taken = match work {
            Work::Backup => {
                self.operate(&["sandbox", "backup", sandbox, "--no-wait"])
                    .await?;
                "select count(*) from backup where state = 'running'"
            }
            Work::Restore => {
                let list = self.answer(&["sandbox", "snapshots", sandbox]).await?;
                let list = list["snapshots"].as_array().context("there is no list")?;
                let oldest = list.last().and_then(|one| one["name"].as_str());
                let oldest = oldest.context("there is no snapshot")?;
                let words = ["sandbox", "restore", sandbox, "--snapshot", oldest];
                let words = [&words[..], &["--yes", "--no-wait"]].concat();
                self.operate(&words).await?;
                // Before it, what is there is backed up.
                "select count(*) from backup where state <> 'waiting'
                 and id = (select id from backup where kind = 'restore' order by id desc limit 1)"
            }
        };
        let come = || async {
            let taken = self.postgres.count(taken).await? > 0;
            Ok(taken && (moment == Moment::Taken || self.holders().await? > 0))
        };
        self.until("the worker is at it", come).await
    }

    /// Everything that was asked for is over, and went well.
    pub async fn backups_succeed(&self) -> anyhow::Result<()> {
        let open = "select count(*) from backup where state in ('waiting', 'running')";
        let over = || async { Ok(self.postgres.count(open).await? == 0) };
        self.until("everything asked for is over", over).await?;
        let failed = "select count(*) from backup where state <> 'done'";
        anyhow::ensure!(self.postgres.count(failed).await? == 0, "one failed");
        let left = self.holders().await?;
        anyhow::ensure!(left == 0, "{left} containers are left");
        Ok(())
    }

    /// How many containers there are through which volumes are read and filled.
    pub async fn holders(&self) -> anyhow::Result<usize> {
        let ours = format!("label=clawkaka.deployment={}", self.docker.deployment);
        let label = "label=clawkaka.probe=volume";
        let words = ["ps", "-aq", "--filter", &ours, "--filter", label];
        Ok(command::run("docker", &words).await?.lines().count())
    }
}
