//! A line for whoever watches the tests run, past the capture of the test harness. It judges nothing.

use std::io::{self, Write};
use std::thread;

/// Not by a macro that prints: the harness would swallow it.
pub fn say(line: &str) {
    writeln!(io::stderr(), "{line}").expect("standard error takes a line");
}

/// Whoever leaves a test out, or a part of one, leaves no doubt about it.
pub fn say_left_out(what_it_needs: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    say(&format!("LEFT OUT: {test} needs {what_it_needs}"));
}
