//! What each figure in the README is made with; `make bench` runs it. A target that is missed is a result; only
//! what cannot be measured fails.

mod answering;
mod bloat;
mod calls;
mod constant_rate;
mod floor;
mod ingest;
mod large;
mod large_tables;
mod latency;
mod light_server;
mod line;
mod machine;
mod memory;
mod options;
mod replies;
mod results;
mod series;
mod service;
mod shop;
mod stage;
mod traffic;
mod wakeup;
mod webhooks;
mod wrk;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Error, Result, anyhow};

use crate::line::Line;
use crate::options::{Options, Row};
use crate::results::Results;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");

/// Measures some rows that need the same contest.
type Contest = fn(&Options, &Path) -> Result<Vec<(Row, Line)>>;

const CONTESTS: [(&[Row], Contest); 8] = [
    (&[Row::Listener, Row::Floor, Row::Duplicates], webhooks::measure),
    (&[Row::Latency], latency::measure),
    (&[Row::Ingest, Row::Duplicates], |options, _| ingest::measure(options)),
    (&[Row::Replies], |options, _| answering::replies(options)),
    (&[Row::Wakeup], |options, _| answering::wakeup(options)),
    (&[Row::Memory], |_, _| answering::memory()),
    (&[Row::Large], |options, _| large::measure(options)),
    (&[Row::Bloat], |options, _| bloat::measure(options)),
];

fn main() -> ExitCode {
    match Options::read(env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what is wanted; false if something could not be measured.
fn run(options: &Options) -> Result<bool> {
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder)?;
    if !options.quick {
        machine::require_release()?;
    }
    let results = Results::new(folder)?;
    let (mut measured, mut failed): (Vec<(Row, Line)>, Vec<Row>) = (Vec::new(), Vec::new());
    for (rows, contest) in CONTESTS {
        let wanted: Vec<Row> = rows.iter().copied().filter(|row| options.wants(*row)).collect();
        if wanted.is_empty() {
            continue;
        }
        let names: Vec<_> = wanted.iter().map(|row| row.name()).collect();
        eprintln!("==> {}", names.join(", "));
        let started_at = Instant::now();
        match without_unwinding(|| contest(options, folder)) {
            Ok(lines) => measured.extend(lines),
            Err(error) => {
                eprintln!("bench: {} could not be measured: {error:#}", names.join(", "));
                failed.extend(wanted);
            }
        }
        eprintln!("  {} s", started_at.elapsed().as_secs());
    }
    measured.sort_by_key(|(row, _)| *row);
    if options.are_worth_keeping() {
        keep(options, &results, &measured, &failed)?;
    }
    let lines: Vec<_> = measured.into_iter().map(|(_, line)| line).collect();
    results::print(&lines);
    Ok(failed.is_empty())
}

/// A row that was measured only in part keeps its former figures.
fn keep(
    options: &Options,
    results: &Results,
    measured: &[(Row, Line)],
    failed: &[Row],
) -> Result<()> {
    for row in Row::ALL.into_iter().filter(|row| !failed.contains(row)) {
        let lines = measured.iter().filter(|(of, _)| *of == row).map(|(_, line)| line.clone());
        let lines: Vec<_> = lines.collect();
        if !lines.is_empty() {
            results.keep(options, row, lines)?;
        }
    }
    results.write()
}

/// What tests stand on panics where it fails; here that is the failure of one contest.
fn without_unwinding<T>(measure: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(measure)).unwrap_or_else(|panic| Err(reason(&*panic)))
}

fn reason(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    anyhow!("{}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic"))
}
