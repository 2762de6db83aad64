//! The README's examples of the listener, run as they stand there: what a reader types first works.

use std::process::Command;

use support::listener::{cluster_with_listener, free_address, silent_tenant, wait_until_well};
use support::{ClusterOptions, Database};

const README: &str = include_str!("../README.md");

/// Where the README's listener is.
const ADDRESS_OF_THE_README: &str = "127.0.0.1:8480";

/// The shell blocks that call the listener.
fn examples() -> Vec<&'static str> {
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("curl") && block.contains(ADDRESS_OF_THE_README)).collect()
}

/// What the block printed; every command of it went well.
#[track_caller]
fn run(block: &str, port: u16, db: &Database) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", block]);
    shell.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string());
    shell.env("PGUSER", "postgres").env("PGDATABASE", db.name());
    let output = shell.output().expect("a shell can be run");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{block}\n{printed}\n{complaint}");
    printed
}

#[test]
fn the_curl_examples_of_the_readme_work() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("readme");
    silent_tenant(&db, "my-shop");
    wait_until_well(address);
    let examples = examples();
    assert!(!examples.is_empty(), "the README shows no call of the listener");
    let printed: String = examples
        .into_iter()
        .map(|block| {
            let block = block.replace(ADDRESS_OF_THE_README, &address.to_string());
            run(&block, cluster.port(), &db)
        })
        .collect();
    for part in [r#""status":"ok""#, r#""duplicate":false"#, "whaply_http_requests_total"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
}
