//! A real Prometheus that scrapes running daemons, with the rules and alerts of `deploy/prometheus`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use postrider_types::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::patience::{PATIENCE, until};
use crate::{port, request};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus");
const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana");
/// What Grafana puts in place of its variables, when everything is chosen.
const VARIABLES: [(&str, &str); 5] = [
    ("$__rate_interval", "1m"),
    ("$__range", "5m"),
    ("$namespace", ".*"),
    ("$job", ".*"),
    ("$webhook", ".*"),
];
/// Prints the folder of the binary.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus.sh");
const RULES: [&str; 2] = ["rules.yaml", "alerts.yaml"];
/// How often it scrapes, and judges its rules.
const EVERY: &str = "1s";

/// A running Prometheus. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    listen: SocketAddr,
    folder: TempDir,
}

/// One series of an answer: its labels, and its values with their times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its values, the oldest first.
    pub values: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts one that scrapes these admin ports, whether anybody listens there yet or not. The time that an alert has
    /// to last until it fires is divided by `hurry`.
    ///
    /// # Errors
    /// When Prometheus is not there and cannot be had; the script's words are on standard error.
    pub async fn start(targets: &[SocketAddr], hurry: u32) -> anyhow::Result<Self> {
        let binary = tokio::task::spawn_blocking(binary).await??;
        let folder = TempDir::with_prefix("postrider-prometheus-")?;
        for name in RULES {
            let rules = std::fs::read_to_string(Path::new(FOLDER).join(name))?;
            std::fs::write(folder.path().join(name), hurried(&rules, hurry)?)?;
        }
        // JSON is YAML.
        std::fs::write(folder.path().join("prometheus.yaml"), config(targets).to_string())?;
        let listen: SocketAddr = ([127, 0, 0, 1], port::free()).into();
        let mut prometheus = Self {
            child: spawn(&binary, folder.path(), listen)?,
            listen,
            folder,
        };
        prometheus.ready().await?;
        Ok(prometheus)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let (listen, child) = (self.listen, &mut self.child);
        let ready = until("Prometheus", PATIENCE, || {
            let ended = child.try_wait();
            async move {
                ensure!(ended?.is_none(), "Prometheus ended");
                Ok(matches!(request::get(listen, "/-/ready").await, Ok((200, _))).then_some(()))
            }
        });
        let ready = ready.await;
        ready.with_context(|| std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())
    }

    /// What a query comes to now.
    ///
    /// # Errors
    /// When Prometheus does not take the query.
    pub async fn ask(&self, query: &str) -> anyhow::Result<Vec<Series>> {
        self.api(&format!("query?query={}", encoded(query))).await
    }

    /// What a query came to from second to second, `step` seconds apart.
    ///
    /// # Errors
    /// When Prometheus does not take the query.
    pub async fn ask_over(
        &self,
        query: &str,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
    ) -> anyhow::Result<Vec<Series>> {
        let seconds = |at: Timestamp| at.as_millis() as f64 / 1_000.0;
        let span = format!(
            "start={}&end={}&step={}",
            seconds(from),
            seconds(to),
            step.as_secs_f64()
        );
        self.api(&format!("query_range?query={}&{span}", encoded(query))).await
    }

    async fn api(&self, path: &str) -> anyhow::Result<Vec<Series>> {
        let (status, text) = request::get(self.listen, &format!("/api/v1/{path}")).await?;
        ensure!(status == 200, "{path}: {status} {text}");
        let answer: Value = serde_json::from_str(&text)?;
        let found = answer["data"]["result"].as_array().context("a list of series")?;
        found.iter().map(series).collect()
    }

    /// The alerts that fire now, each with its instance where it has one.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn firing(&self) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
        let alerts = self.ask(r#"ALERTS{alertstate="firing"}"#).await?;
        Ok(alerts.into_iter().map(|alert| alert.labels).collect())
    }
}

/// Every query of the dashboards of `deploy/grafana`, as Grafana asks it, with the title of its panel.
///
/// # Errors
/// When a dashboard cannot be read.
pub fn panels() -> anyhow::Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    let files = std::fs::read_dir(DASHBOARDS)?.map(|entry| Ok(entry?.path()));
    let files: Vec<PathBuf> = files.collect::<anyhow::Result<_>>()?;
    let boards = files
        .iter()
        .filter(|path| path.extension().is_some_and(|one| one == "json"));
    for path in boards {
        let board: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        for panel in board["panels"].as_array().context("panels")? {
            for target in panel["targets"].as_array().context("targets")? {
                let title = panel["title"].as_str().context("a title")?.to_owned();
                queries.push((title, plain(target["expr"].as_str().context("a query")?)));
            }
        }
    }
    Ok(queries)
}

fn plain(query: &str) -> String {
    let put = |query: String, (name, value): &(&str, &str)| query.replace(name, value);
    VARIABLES.iter().fold(query.to_owned(), put)
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one that is installed, else the one that the script takes out of Debian's package.
fn binary() -> anyhow::Result<PathBuf> {
    let target = std::env::current_exe()?;
    let tools = target
        .ancestors()
        .nth(3)
        .context("a target folder")?
        .join("deploy-tools");
    let found = Command::new(SCRIPT).arg(tools).stderr(Stdio::inherit()).output()?;
    ensure!(
        found.status.success(),
        "Prometheus is not there and cannot be had: `.ci/setup deploy` makes that it can"
    );
    Ok(Path::new(String::from_utf8(found.stdout)?.trim()).join("prometheus"))
}

fn spawn(binary: &Path, folder: &Path, listen: SocketAddr) -> anyhow::Result<Child> {
    let log = std::fs::File::create(folder.join("log"))?;
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(binary)
        .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    child.context("starting Prometheus")
}

fn config(targets: &[SocketAddr]) -> Value {
    json!({
        "global": { "scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY },
        "rule_files": RULES,
        "scrape_configs": [{ "job_name": "postrider", "static_configs": [{ "targets": targets }] }],
    })
}

/// Rules whose alerts fire so many times sooner.
fn hurried(rules: &str, hurry: u32) -> anyhow::Result<String> {
    let line = |line: &str| -> anyhow::Result<String> {
        let Some((before, time)) = line.split_once("for: ").filter(|(before, _)| before.trim().is_empty()) else {
            return Ok(line.to_owned());
        };
        let millis = millis(time).with_context(|| format!("`{time}` is no time"))? / u64::from(hurry);
        Ok(format!("{before}for: {millis}ms"))
    };
    let lines: Vec<String> = rules.lines().map(line).collect::<anyhow::Result<_>>()?;
    Ok(lines.join("\n") + "\n")
}

fn millis(time: &str) -> Option<u64> {
    let (number, unit) = time.split_at(time.find(|letter: char| !letter.is_ascii_digit())?);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * unit)
}

fn encoded(query: &str) -> String {
    query.bytes().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "%{byte:02X}");
        text
    })
}

fn series(found: &Value) -> anyhow::Result<Series> {
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse::<f64>().ok()?));
    let single = found.get("value").into_iter();
    let several = found["values"].as_array().into_iter().flatten();
    let values: Option<Vec<(f64, f64)>> = single.chain(several).map(point).collect();
    Ok(Series {
        labels: serde_json::from_value(found["metric"].clone())?,
        values: values.context("values with their times")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_that_are_hurried_differ_in_nothing_but_how_long_they_wait() {
        let rules = "- alert: A\n  expr: up == 0 # for: ever\n  for: 3m\n- alert: B\n  for: 30s\n";
        let sooner = hurried(rules, 12).unwrap();
        assert_eq!(
            sooner,
            "- alert: A\n  expr: up == 0 # for: ever\n  for: 15000ms\n- alert: B\n  for: 2500ms\n"
        );
        assert!(hurried("  for: ever\n", 2).is_err());
    }

    #[test]
    fn answers_of_both_kinds_are_read() {
        let now = series(&json!({ "metric": { "job": "p" }, "value": [1.5, "3"] })).unwrap();
        assert_eq!((now.labels["job"].as_str(), now.values), ("p", vec![(1.5, 3.0)]));
        let over = series(&json!({ "metric": {}, "values": [[1, "3"], [2, "NaN"]] })).unwrap();
        assert!(over.values.len() == 2 && over.values[1].1.is_nan());
        assert!(series(&json!({ "metric": {}, "value": [1, 3] })).is_err());
    }

    #[test]
    fn a_query_is_encoded_whole() {
        assert_eq!(encoded("a{b=\"c\"}"), "%61%7B%62%3D%22%63%22%7D");
    }
}
