//! Every input that a fuzzer has kept, and every fixture of the project, once more: as an ordinary test, of
//! which a machine without any fuzzer is capable.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use whaply_fuzz::checks::{ALL, Check};

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(path: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn check(named: &str) -> Check {
    ALL.into_iter().find(|(name, _)| *name == named).unwrap().1
}

/// Runs them all, and says which do not hold.
fn run(check: Check, inputs: &[PathBuf]) {
    let holds = |input: &&PathBuf| {
        let bytes = fs::read(input).unwrap();
        panic::catch_unwind(AssertUnwindSafe(|| check(&bytes))).is_err()
    };
    let broken: Vec<&PathBuf> = inputs.iter().filter(holds).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn what_fuzzing_kept_still_holds() {
    for (name, check) in ALL {
        let inputs = files(&format!("corpus/{name}"));
        assert!(inputs.len() >= 3, "nothing was kept of {name}");
        run(check, &inputs);
    }
}

#[test]
fn what_fuzzing_once_broke_holds() {
    for (name, check) in ALL {
        if folder(&format!("regressions/{name}")).exists() {
            run(check, &files(&format!("regressions/{name}")));
        }
    }
}

#[test]
fn every_fixture_holds() {
    run(check("webhook"), &files("../tests/fixtures/webhooks"));
    for name in ["providers", "evolution"] {
        run(check(name), &files("../tests/fixtures/http"));
    }
}

#[test]
fn the_listener_takes_every_fixture_and_answers_it() {
    for fixture in files("../tests/fixtures/webhooks") {
        let body = fs::read(&fixture).unwrap();
        let head = format!(
            "POST /webhook HTTP/1.1\r\nhost: a\r\nx-whaply-secret: the-right-SECRET-4711\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        for bits in [0, 1, 8, 16, 32] {
            check("front_door")(&[&[bits, 7], head.as_bytes(), &body].concat());
        }
    }
}
