//! Debian's Prometheus, scraping one address each second, and what it answers to a query. It is found
//! where `scripts/prometheus` puts it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::guard::Guarded;
use crate::listener::free_address;
use crate::rows::PATIENCE;
use crate::wait::wait_until;

/// $1: the program, $2: its folder, $3: its address. It ends when the test process does.
const SCRIPT: &str = r#"
trap '' INT TERM HUP PIPE
"$1" --config.file="$2/prometheus.yml" --storage.tsdb.path="$2/data" --web.listen-address="$3" \
    --log.level=warn >"$2/log" 2>&1 &
cat >/dev/null
kill -KILL $!
wait
"#;

/// Dropped in this order: it writes into its folder until it is gone.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _process: Guarded,
    folder: tempfile::TempDir,
}

/// One series of an answer: its labels, and its value now.
#[derive(Clone, Debug)]
pub struct Series {
    pub labels: Value,
    pub value: f64,
}

impl Prometheus {
    /// Returns when it has scraped `target` once.
    #[track_caller]
    pub fn scraping(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs: [{{ job_name: whaply, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), settings).expect("its settings");
        let address = free_address();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "whaply-test-prometheus"]).arg(program("prometheus"));
        command.arg(folder.path()).arg(address.to_string());
        let process = Guarded::start(command.stdout(Stdio::null())).expect("a shell can be run");
        let prometheus = Self { address, _process: process, folder };
        wait_until("Prometheus to scrape", PATIENCE, || match prometheus.query("up") {
            Ok(series) if series.first().is_some_and(|up| up.value == 1.0) => Ok(()),
            other => Err(format!("{other:?}\n{}", prometheus.log())),
        });
        prometheus
    }

    /// What a query finds now. An error: what it answered, or why it did not.
    pub fn query(&self, expression: &str) -> Result<Vec<Series>, String> {
        let encoded = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let path = format!("/api/v1/query?query={encoded}");
        let text =
            get(&format!("http://{}{path}", self.address)).map_err(|error| error.to_string())?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let found = body["data"]["result"].as_array().filter(|_| body["status"] == "success");
        let found = found.ok_or(text)?;
        Ok(found.iter().filter_map(read).collect())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn get(url: &str) -> Result<String, ureq::Error> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    let agent = agent.timeout_global(Some(PATIENCE)).build().new_agent();
    agent.get(url).call()?.body_mut().read_to_string()
}

fn read(series: &Value) -> Option<Series> {
    let value = series["value"][1].as_str()?.parse().ok()?;
    Some(Series { labels: series["metric"].clone(), value })
}

/// What promtool says of a file of rules.
pub fn check_rules(rules: &Path) -> Output {
    let mut command = Command::new(program("promtool"));
    command.args(["check", "rules"]).arg(rules);
    command.output().expect("promtool can be run")
}

fn program(name: &str) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = project.join("target/prometheus/usr/bin").join(name);
    assert!(program.exists(), "{} is missing: run scripts/prometheus", program.display());
    program
}
