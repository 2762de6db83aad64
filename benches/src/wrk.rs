//! Load as fast as it is answered: wrk, which keeps a number of connections busy. It counts what is answered
//! with 200 and never looks into the answers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::traffic::{self, Chat};

pub const CONNECTIONS: u32 = 256;
const THREADS: u32 = 1;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/load/webhooks.lua");

/// How wrk is called, for the results.
pub fn command_line() -> String {
    format!("wrk -t{THREADS} -c{CONNECTIONS}")
}

pub struct Wrk {
    chats: PathBuf,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Answered with 200.
    pub taken: u32,
    pub per_second: f64,
}

impl Wrk {
    /// Keeps what it needs in `folder`.
    pub fn new(folder: &Path, chats: &[Chat]) -> Result<Self> {
        let file = folder.join("chats.tsv");
        traffic::write_for_wrk(chats, &file)?;
        Ok(Self { chats: file })
    }

    /// The messages of a run; with `repeat_after` its first ones over and over.
    pub fn run(
        &self,
        url: &str,
        run: u16,
        repeat_after: Option<u32>,
        duration: Duration,
    ) -> Result<Answers> {
        let output = Command::new("wrk")
            .args([format!("-t{THREADS}"), format!("-c{CONNECTIONS}")])
            .arg(format!("-d{}s", duration.as_secs()))
            .args(["-s", SCRIPT, url, "--"])
            .arg(&self.chats)
            .args([run.to_string(), repeat_after.unwrap_or(0).to_string()])
            .stdin(Stdio::null())
            .output()
            .context("wrk cannot be run")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        read(&printed).with_context(|| format!("wrk against {url}: {printed}{complaint}"))
    }
}

/// `RESULT requests microseconds refused broken`, as the script prints it.
fn read(printed: &str) -> Result<Answers> {
    let line =
        printed.lines().find_map(|line| line.strip_prefix("RESULT ")).context("no result")?;
    let numbers: Vec<u32> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, microseconds, refused, broken] = numbers[..] else { bail!("{line}") };
    let taken = requests - refused;
    if taken == 0 {
        bail!("no webhook was answered with 200");
    }
    if refused + broken > 0 {
        eprintln!("  {refused} webhooks got another answer than 200, {broken} none");
    }
    Ok(Answers { taken, per_second: f64::from(taken) / (f64::from(microseconds) / 1e6) })
}
