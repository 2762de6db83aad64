//! Random histories, played against the real extension: customers, owners, other clients and
//! operators, webhooks that come twice, late and in any order, a model and a gateway that fail in
//! every way. After each, invariants are checked from outside. It asserts nothing about one history
//! in particular.
//!
//! `WHAPLY_HISTORIES` says how many, `WHAPLY_TEST_SEED` with which the first is made; the next one
//! has the next seed. So a failure is made again by its own seed and `WHAPLY_HISTORIES=1`.

mod chance;
mod invariants;
mod ledger;
mod play;
mod stage;
mod step;
mod story;
mod tables;
mod watcher;
mod words;
mod world;

use std::env;
use std::io::{self, Write};
use std::time::Instant;

/// In every run of the tests; `make chaos` plays many more.
const HISTORIES: u64 = 500;

/// A stage keeps a record of everything, so that it is replaced now and then.
const HISTORIES_OF_A_STAGE: u64 = 1000;

fn number_of(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is no number")))
}

/// A line for people, also where the harness shows nothing of a test that passes.
fn tell(line: &str) {
    // Where nobody reads, nobody is told.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

#[test]
fn no_history_breaks_an_invariant() {
    let histories = number_of("WHAPLY_HISTORIES").unwrap_or(HISTORIES);
    // Small enough to be read and typed.
    let first = number_of("WHAPLY_TEST_SEED").unwrap_or_else(|| fastrand::u64(0..1_000_000_000));
    tell(&format!("{histories} histories; WHAPLY_TEST_SEED={first} plays them again"));
    let started_at = Instant::now();
    let mut played = chance::Played::default();
    while played.histories < histories {
        let count = HISTORIES_OF_A_STAGE.min(histories - played.histories);
        let stage = stage::Stage::set();
        played.add(chance::play_all(&stage, first + played.histories, count));
        if !played.failures.is_empty() {
            let report = chance::report(&stage, &played);
            panic!("{report}");
        }
        tell(&format!("{played} in {} s", started_at.elapsed().as_secs()));
    }
}
