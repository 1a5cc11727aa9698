//! Upgrades of sandboxes: images to move to, how an operator deploys one, and how it ended.

use crate::{Person, Product, command};

/// The same in all that matters.
pub const HARMLESS: &str = "LABEL clawkaka.test=harmless";

/// An image of a story's own: the real one's layers, and one change. Gone with the story.
pub struct Image {
    pub name: String,
    pub id: String,
}

impl Image {
    pub async fn make(product: &Product, name: &str, change: &str) -> anyhow::Result<Self> {
        let base = std::env::var("SANDBOX_IMAGE").unwrap_or("clawkaka-sandbox:dev".to_owned());
        let name = format!("{}:{name}", product.docker.deployment);
        let container = command::run("docker", &["create", &base]).await?;
        let container = container.trim();
        let made = command::run("docker", &["commit", "--change", change, container, &name]).await;
        command::run("docker", &["rm", container]).await?;
        let id = made?.trim().to_owned();
        Ok(Self { name, id })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        command::try_now("docker", &["rmi", "-f", &self.name]);
    }
}

impl Product {
    /// As an operator deploys another image. Nobody who is there notices.
    pub async fn deploy(&mut self, people: &[Person], image: &Image) -> anyhow::Result<()> {
        let before = self.docker.sandboxes().await?;
        self.stop().await?;
        self.set("SANDBOX_IMAGE", &image.name);
        self.start_again().await?;
        anyhow::ensure!(
            self.docker.sandboxes().await? == before,
            "a new image changed somebody who was there"
        );
        // Until somebody was answered, the new worker takes what is young for a boot.
        let marks = self.all_say(people, &image.name.replace(':', "-")).await?;
        self.exactly_one_each(people, &marks).await
    }

    /// Waits for the end of the upgrade that runs: what became of it, and why.
    pub async fn upgrade_ends(&self) -> anyhow::Result<String> {
        let open = "select count(*) from upgrade where state = 'running'";
        let over = || async { Ok(self.postgres.count(open).await? == 0) };
        self.until("the upgrade is over", over).await?;
        let last = "select state || ' ' || outcome from upgrade order by requested_at desc limit 1";
        let last = sqlx::query_scalar(last);
        Ok(last.fetch_one(&self.postgres.db).await?)
    }

    /// How many sandboxes run, or are to run, this image.
    pub async fn on(&self, image: &str) -> anyhow::Result<i64> {
        let count = "select count(*) from sandbox where image = $1";
        let count = sqlx::query_scalar(count).bind(image);
        Ok(count.fetch_one(&self.postgres.db).await?)
    }
}
