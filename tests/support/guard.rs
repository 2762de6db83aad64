//! Processes that must not outlive the test process, however that ends. Each is watched by its
//! standard input: a pipe that only the test process holds open, and that the kernel closes for it.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Dropping it closes the pipe and waits until the process has tidied up and gone.
#[derive(Debug)]
pub(crate) struct Guarded {
    process: Child,
    /// Rust opens pipes close-on-exec, so no other child keeps this one open.
    lifeline: Option<ChildStdin>,
}

impl Guarded {
    /// `command` must end by itself when its standard input does. It gets a process group of its
    /// own, so that Ctrl-C in a terminal reaches the test process only.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).process_group(0).spawn()?;
        let lifeline = process.stdin.take();
        Ok(Self { process, lifeline })
    }

    /// The first line it prints, unless it ends or takes longer than `limit` before that. Its
    /// output must be piped.
    pub(crate) fn first_line(&mut self, limit: Duration) -> Option<String> {
        let output = self.process.stdout.take()?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let line = BufReader::new(output).lines().next()?.ok()?;
            sender.send(line).ok()
        });
        receiver.recv_timeout(limit).ok()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.lifeline.take();
        // There is nobody to tell, and nothing left to do, if this fails.
        let _ = self.process.wait();
    }
}
