//! What the figures were measured on. It reads, and changes nothing.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::stage::{SETTINGS, file_system, memory_mb, shared_buffers};
use crate::{calls, service, wrk};

/// What stands in the library before the word for its build, and after it; see src/version.rs.
const BUILD: &[u8] = b"whaply-build:";
const BUILD_END: u8 = b';';
const RELEASE: &str = "release";

const DEFAULT_PG_CONFIG: &str = "/usr/lib/postgresql/15/bin/pg_config";

/// One line for each thing.
pub fn description() -> Result<Vec<String>> {
    let cores = thread::available_parallelism()?;
    let memory = memory_mb()? as f64 / 1024.0;
    let (disk, folder) = (disk()?, file_system("/tmp"));
    Ok(vec![
        format!("Processor: {}, {cores} cores; memory {memory:.0} GiB", processor()?),
        format!("Disk: {disk}, {folder}"),
        format!("Kernel: {}", output("uname", &["-sr"])?),
        format!("Server: {}", server()?),
        format!("Build of whaply: {}", build()?),
    ])
}

/// How everything was set and called.
pub fn conditions() -> Result<Vec<String>> {
    let settings = SETTINGS.iter().map(|(name, value)| format!("{name} = {value}"));
    let settings: Vec<_> = settings.collect();
    let (load, workers, calls) = (wrk::command_line(), service::WORKERS, calls::CONNECTIONS);
    Ok(vec![
        format!("fsync = on, shared_buffers = {}, {}; all else as PostgreSQL has it, autovacuum too", shared_buffers()?, settings.join(", ")),
        "whaply and the peers write the same tables of one database, emptied and followed by a \
         CHECKPOINT before each run (the large tables excepted); they run in turn, every other round \
         backwards, and each figure is the median of the rounds. A ratio is that of one round; its \
         least and most stand behind it."
            .to_owned(),
        format!(
            "Webhooks: text messages of 1,000 customers of 20 instances, ids and chats at random, by \
             {load}. After each run the rows are counted: each 200 has its row. Load, server and peers \
             share the cores."
        ),
        format!(
            "The service: benches/peers/service.py, {workers} uvicorn workers with uvloop and httptools. \
             Nobody answers the customers meanwhile. ingest: {calls} connections, prepared, a transaction a \
             call."
        ),
    ])
}

fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    Ok(name.map_or("unknown", |name| name.trim_start_matches([' ', '\t', ':'])).to_owned())
}

/// The device behind the folder of the clusters.
fn disk() -> Result<String> {
    let table = output("df", &["--output=source,size", "-h", "/tmp"])?;
    let line = table.lines().last().context("df prints a line")?;
    Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Fails where a build for tests is installed, whoever installed it.
pub fn require_release() -> Result<()> {
    let build = build()?;
    ensure!(
        build == RELEASE,
        "the build of whaply that is installed is {build}: only one for {RELEASE} is measured (make install)"
    );
    Ok(())
}

/// The build that the server loads, as its library tells it.
fn build() -> Result<String> {
    let library = Path::new(&pg_config("--pkglibdir")?).join("whaply.so");
    let bytes = fs::read(&library).with_context(|| library.display().to_string())?;
    let place = bytes.windows(BUILD.len()).position(|part| part == BUILD);
    let place = place.with_context(|| format!("{} does not tell its build", library.display()))?;
    let word = bytes[place + BUILD.len()..].split(|byte| *byte == BUILD_END).next();
    Ok(String::from_utf8_lossy(word.unwrap_or_default()).into_owned())
}

fn server() -> Result<String> {
    pg_config("--version")
}

fn pg_config(what: &str) -> Result<String> {
    let pg_config = env::var("PG_CONFIG").unwrap_or_else(|_| DEFAULT_PG_CONFIG.to_owned());
    output(&pg_config, &[what])
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
