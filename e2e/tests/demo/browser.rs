//! A real Chromium, driven over WebDriver, with what these stories look for on the page.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use e2e::{command, free_ports, http_client};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A net under every wait, far beyond what anything takes.
const PATIENCE: Duration = Duration::from_secs(240);

pub struct Browser {
    client: Client,
    /// The session's address: for what WebDriver itself does not have.
    session: String,
    http: reqwest::Client,
    _driver: Child,
}

/// Whether all of the page has come; its first people are the last thing.
const WHOLE: &str = "new Promise((done) => {
    const look = () => document.querySelector('.person') && done(true);
    new MutationObserver(look).observe(document, {subtree: true, childList: true});
    setTimeout(() => done(false), 10000);
    look();
})";

#[derive(Clone, Copy, Debug)]
pub enum Light {
    Light,
    Dark,
}

impl Browser {
    /// A fresh browser with nothing but this page.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let port = free_ports(1)?;
        // The driver dies with us, however we die, and the browser with the driver's pipe.
        let mut driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "chromedriver"])
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start chromedriver (Debian: chromium-driver)")?;
        let said = driver.stdout.take().context("chromedriver has no output")?;
        let mut said = BufReader::new(said).lines();
        while let Some(line) = said.next_line().await? {
            if line.contains("started successfully") {
                break;
            }
        }
        let server = format!("http://127.0.0.1:{port}");
        let wishes = json!({
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--remote-debugging-pipe", "--no-first-run", "--disable-extensions",
            ]},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": PATIENCE.as_millis()},
        });
        let Value::Object(wishes) = wishes else {
            anyhow::bail!("these are no capabilities");
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wishes)
            .connect(&server)
            .await
            .context("start Chromium")?;
        let id = client.session_id().await?.context("no session")?;
        let browser = Self {
            client,
            session: format!("{server}/session/{id}"),
            http: http_client(PATIENCE)?,
            _driver: driver,
        };
        browser.size(1280, 800).await?;
        browser.go(url).await?;
        Ok(browser)
    }

    // What a person does.

    pub async fn size(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let phone = width < 700;
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 },
            "mobile": phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await
    }

    pub async fn light(&self, light: Light) -> anyhow::Result<()> {
        let value = match light {
            Light::Light => "light",
            Light::Dark => "dark",
        };
        let features = json!([
            {"name": "prefers-color-scheme", "value": value},
            // So that a picture is the same every time.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await
    }

    pub async fn click(&self, css: &str) -> anyhow::Result<()> {
        let element = self.client.wait().at_most(PATIENCE);
        let element = element.for_element(Locator::Css(css)).await;
        let element = element.with_context(|| format!("there is no {css}"))?;
        element
            .click()
            .await
            .with_context(|| format!("click {css}"))
    }

    /// Presses these keys, wherever the cursor is. `\u{e007}` is Enter, `\u{e008}` Shift.
    pub async fn keys(&self, keys: &str) -> anyhow::Result<()> {
        let focused = self.client.active_element().await?;
        focused.send_keys(keys).await.context("press keys")
    }

    /// Writes a line as a person and sends it. A line's end within it is Shift and Enter.
    pub async fn write(&self, person: &str, text: &str) -> anyhow::Result<()> {
        self.click(&format!("{} textarea", chat(person))).await?;
        let keys = text.replace('\n', "\u{e008}\u{e007}\u{e000}");
        self.keys(&format!("{keys}\u{e007}")).await
    }

    /// Opens an address, again until it is whole: a sandbox that starts beside us is a change of
    /// the network, and then Chromium gives up on what it loads.
    pub async fn go(&self, url: &str) -> anyhow::Result<()> {
        for _ in 0..10 {
            let gone = self.client.goto(url).await;
            if gone.is_ok() && self.look(WHOLE).await? == true {
                return Ok(());
            }
        }
        anyhow::bail!("the page does not load")
    }

    pub async fn back(&self) -> anyhow::Result<()> {
        self.client.back().await.context("go back")
    }

    // What a person sees.

    /// Waits until an expression is true on the page, and returns it. The page wakes us.
    pub async fn until(&self, expression: &str) -> anyhow::Result<Value> {
        let script = format!(
            "const done = arguments[0];
             const watcher = new MutationObserver(look);
             function look() {{
               const found = {expression};
               if (found) {{ watcher.disconnect(); done(found); }}
             }}
             watcher.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}});
             look();"
        );
        match self.client.execute_async(&script, Vec::new()).await {
            Ok(found) => Ok(found),
            Err(error) => {
                let page = self.look("document.body.innerText").await?;
                Err(error).with_context(|| format!("never: {expression}\non the page: {page}"))
            }
        }
    }

    /// What an expression is at this moment.
    pub async fn look(&self, expression: &str) -> anyhow::Result<Value> {
        let script = format!("return {expression};");
        let found = self.client.execute(&script, Vec::new()).await;
        found.with_context(|| format!("look at {expression}"))
    }

    /// Waits until a part of the page says something.
    pub async fn reads(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let (css, text) = (json!(css), json!(text));
        let all = format!("[...document.querySelectorAll({css})]");
        let there =
            format!("{all}.some((one) => one.offsetParent && one.innerText.includes({text}))");
        self.until(&there).await.map(drop)
    }

    pub async fn text(&self, css: &str) -> anyhow::Result<String> {
        let css = json!(css);
        let text = self
            .look(&format!("document.querySelector({css})?.innerText ?? ''"))
            .await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Fails if one has to scroll sideways to see everything.
    pub async fn fits(&self, width: u32) -> anyhow::Result<()> {
        let wide = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)";
        let found = self.look(&format!("[{wide}, innerWidth]")).await?;
        let [Some(wide), Some(inner)] = [&found[0], &found[1]].map(Value::as_u64) else {
            anyhow::bail!("no widths: {found}");
        };
        anyhow::ensure!(inner == u64::from(width), "the window is {inner} wide");
        anyhow::ensure!(wide <= inner, "{wide} wide in a window of {inner}");
        let cut = "[...document.querySelectorAll('body *')].filter((one) => one.offsetParent \
                   && !one.closest('.unseen') && one.getBoundingClientRect().right > innerWidth + 1) \
                   .map((one) => one.className)";
        let cut = self.look(cut).await?;
        anyhow::ensure!(cut == json!([]), "beyond the edge at {width}: {cut}");
        Ok(())
    }

    /// Fails if the browser complained: errors, refused files, violations of the policy.
    pub async fn has_no_complaints(&self) -> anyhow::Result<()> {
        let log = self.ask("se/log", json!({"type": "browser"})).await?;
        let all = log.as_array().context("no log")?;
        let is_bad = |one: &&Value| {
            let said = one["message"].as_str().unwrap_or_default();
            one["level"] != "INFO" && !said.contains("ERR_NETWORK_CHANGED")
        };
        let bad: Vec<_> = all.iter().filter(is_bad).collect();
        anyhow::ensure!(bad.is_empty(), "the browser complains: {bad:?}");
        Ok(())
    }

    pub async fn picture(&self, file: &Path) -> anyhow::Result<()> {
        let bytes = self.client.screenshot().await?;
        std::fs::write(file, bytes).with_context(|| format!("write {}", file.display()))
    }

    async fn devtools(&self, name: &str, parameters: Value) -> anyhow::Result<()> {
        let asked = json!({"cmd": name, "params": parameters});
        self.ask("goog/cdp/execute", asked).await.map(drop)
    }

    async fn ask(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let url = format!("{}/{path}", self.session);
        let answer = self.http.post(url).json(&body).send().await?;
        let answer: Value = answer.json().await.context("read chromedriver's answer")?;
        anyhow::ensure!(answer["value"]["error"].is_null(), "{path}: {answer}");
        Ok(answer["value"].clone())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        command::try_now(
            "curl",
            &["-s", "--noproxy", "*", "-X", "DELETE", &self.session],
        );
    }
}

/// Where a person's phone is on the page.
pub fn chat(person: &str) -> String {
    format!(".chat[data-person='{person}']")
}
