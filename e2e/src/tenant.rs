//! Who a person is to the product: their tenant, their sandbox, what their agent knows of them; and
//! what an operator does with that.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{PATIENCE, Person, Product, command, docker::SANDBOX_LABEL, logs};

impl Product {
    pub async fn tenant_of(&self, person: &Person) -> anyhow::Result<String> {
        let wamid = self.whatsapp.conversation(person)[0].wamid.clone();
        let tenant = "select tenant_id::text from inbox where provider_id = $1";
        let tenant = sqlx::query_scalar(tenant).bind(&wamid);
        Ok(tenant.fetch_one(&self.postgres.db).await?)
    }

    pub async fn sandbox_of(&self, person: &Person) -> anyhow::Result<String> {
        let tenant = self.tenant_of(person).await?;
        let sandbox = "select id::text from sandbox where tenant_id::text = $1";
        let sandbox = sqlx::query_scalar(sandbox).bind(&tenant);
        Ok(sandbox.fetch_one(&self.postgres.db).await?)
    }

    /// Whether the agent that was asked this knew of something that was said before.
    pub async fn knew(&self, asked: &str, of: &str) -> anyhow::Result<bool> {
        let request = self.model.wait_for_request(asked, PATIENCE).await?;
        Ok(request.body.to_string().contains(of))
    }

    /// Everybody's agent that was asked one of these knew what its person had said before.
    pub async fn all_knew(&self, asked: &[String], of: &[String]) -> anyhow::Result<()> {
        for (asked, of) in asked.iter().zip(of) {
            anyhow::ensure!(self.knew(asked, of).await?, "{of} is forgotten");
        }
        Ok(())
    }

    /// An operator's command that changes something, and what it answers. It must not name anybody.
    pub async fn operate(&self, words: &[&str]) -> anyhow::Result<Value> {
        self.answer(&[words, &["--as", "ana"]].concat()).await
    }

    /// An operator's command that changes nothing.
    pub async fn answer(&self, words: &[&str]) -> anyhow::Result<Value> {
        let mut operate = self.command(words[0])?;
        operate.args(&words[1..]).arg("--json");
        let said = command::output(operate, b"").await?;
        logs::has_none_of("an operator's terminal", &said, &self.private())?;
        serde_json::from_slice(&said).context("read an operator's answer")
    }

    /// Unasked: a row in their agent's conversation, through the gateway's own command line, inside.
    pub async fn agent_says(&self, person: &Person, words: &str) -> anyhow::Result<()> {
        let say = format!(
            "export HOME=/state/home OPENCLAW_STATE_DIR=/state/openclaw OPENCLAW_CONFIG_PATH=/state/openclaw.json
             exec node /app/node_modules/openclaw/openclaw.mjs gateway call chat.inject --params '{}'",
            json!({ "sessionKey": "main-1", "message": words })
        );
        self.within(person, &say).await
    }

    /// Runs a line of shell in their sandbox.
    pub async fn within(&self, person: &Person, line: &str) -> anyhow::Result<()> {
        let label = format!("label={SANDBOX_LABEL}={}", self.sandbox_of(person).await?);
        let container = command::run("docker", &["ps", "-q", "--filter", &label]).await?;
        let run = ["sh", "-c", line];
        self.docker.exec(container.trim(), &run).await?;
        Ok(())
    }
}
