//! A real Chromium without a screen, driven by WebDriver.

use anyhow::{Context as _, Result, bail, ensure};
use cluster::{PortLock, reserve_port};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// For anything that a page is to show: services of a debug build on a busy machine.
const BOUND: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// Keeps pictures of the page in this folder.
const PICTURES: &str = "RINGWAY_PICTURES";

/// `chromedriver`; ends with this.
pub(crate) struct Driver {
    _process: Child,
    port: PortLock,
}

impl Driver {
    pub(crate) async fn start() -> Result<Self> {
        let port = reserve_port()?;
        let process = Command::new("chromedriver")
            .arg(format!("--port={}", port.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver (deploy/install.sh --bench installs it)")?;
        let driver = Self {
            _process: process,
            port,
        };
        let status = format!("{}/status", driver.url());
        let began = Instant::now();
        while reqwest::get(&status).await.is_err() {
            ensure!(began.elapsed() < BOUND, "chromedriver doesn't answer");
            sleep(PAUSE).await;
        }
        Ok(driver)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.port())
    }

    /// A browser with a window of this size, in CSS pixels.
    pub(crate) async fn open(&self, name: &'static str, width: u32, height: u32) -> Result<Page> {
        let options = json!({
            // Root can't have Chromium's sandbox; all that is shown is ours.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"],
            "mobileEmulation": { "deviceMetrics": { "width": width, "height": height, "pixelRatio": 1.0, "mobile": false, "touch": false } },
        });
        let mut wanted = serde_json::Map::new();
        wanted.insert("goog:chromeOptions".to_owned(), options);
        wanted.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&self.url())
            .await?;
        let session = client.session_id().await?.context("no session")?;
        Ok(Page {
            client,
            name,
            log: format!("{}/session/{session}/se/log", self.url()),
            width,
            pictures: std::env::var_os(PICTURES).map(PathBuf::from),
        })
    }
}

/// A browser's one page.
pub(crate) struct Page {
    client: Client,
    name: &'static str,
    log: String,
    width: u32,
    pictures: Option<PathBuf>,
}

impl Page {
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.client.close().await?)
    }

    pub(crate) async fn go(&self, url: &str) -> Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Makes constructors fail from here on, as if what they stand for were not let through.
    pub(crate) async fn take_away(&self, constructors: &[&str]) -> Result<()> {
        let script = "for (const name of arguments[0]) window[name] = class { constructor() { throw new Error(name); } }";
        self.client.execute(script, vec![json!(constructors)]).await?;
        Ok(())
    }

    /// Waits for an element.
    pub(crate) async fn wait(&self, css: &str) -> Result<Element> {
        self.wait_until(css, |_| true).await
    }

    /// Waits for an element whose text is as it should be.
    pub(crate) async fn wait_until(&self, css: &str, fits: impl Fn(&str) -> bool) -> Result<Element> {
        let began = Instant::now();
        loop {
            // While a view is replaced, what was found may be gone.
            for element in self.client.find_all(Locator::Css(css)).await? {
                if element.text().await.is_ok_and(|text| fits(&text)) {
                    return Ok(element);
                }
            }
            if began.elapsed() > BOUND {
                let shown = self.text("body").await.unwrap_or_default();
                self.picture("late").await?;
                bail!("{}: {css} is not as it should be in:\n{shown}", self.name);
            }
            sleep(PAUSE).await;
        }
    }

    pub(crate) async fn text(&self, css: &str) -> Result<String> {
        Ok(self.client.find(Locator::Css(css)).await?.text().await?)
    }

    pub(crate) async fn click(&self, css: &str) -> Result<()> {
        self.wait(css)
            .await?
            .click()
            .await
            .with_context(|| css.to_owned())
    }

    /// Types into a field in place of what is there.
    pub(crate) async fn fill(&self, css: &str, text: &str) -> Result<()> {
        let field = self.wait(css).await?;
        field.clear().await?;
        field.send_keys(text).await.with_context(|| css.to_owned())
    }

    pub(crate) async fn choose(&self, css: &str, label: &str) -> Result<()> {
        Ok(self.wait(css).await?.select_by_label(label).await?)
    }

    /// Nothing is wider than the window; a picture is kept if that is wanted.
    pub(crate) async fn fits(&self, view: &str) -> Result<()> {
        self.picture(view).await?;
        let script = "return [window.innerWidth, document.documentElement.scrollWidth]";
        let [window, content]: [u64; 2] =
            serde_json::from_value(self.client.execute(script, Vec::new()).await?)?;
        ensure!(u64::from(self.width) == window, "the window is {window} wide");
        ensure!(
            content <= window,
            "{view} is {content} wide in a window of {window}"
        );
        Ok(())
    }

    async fn picture(&self, view: &str) -> Result<()> {
        let Some(folder) = &self.pictures else {
            return Ok(());
        };
        let picture = self.client.screenshot().await?;
        std::fs::write(folder.join(format!("{}-{view}.png", self.name)), picture)?;
        Ok(())
    }

    /// What the console has been told of as an error since this was asked last.
    pub(crate) async fn errors(&self) -> Result<Vec<String>> {
        let asked = reqwest::Client::new()
            .post(&self.log)
            .json(&json!({ "type": "browser" }));
        let told: Value = asked.send().await?.json().await?;
        let entries = told["value"].as_array().context("no log")?;
        let errors = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        Ok(errors.map(|entry| entry["message"].to_string()).collect())
    }
}
