//! The threads that make HTTP calls. They touch nothing of PostgreSQL: a plain job goes in, a plain
//! result comes out, and an eventfd wakes the main loop. Threads are made when first needed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::jobs::{Done, Job};
use super::places::Server;
use crate::net::{Caller, Outgoing};
use crate::process::{WakeUp, with_signals_blocked};

/// ureq and rustls need far less than the 2 MiB that Rust gives a thread.
const STACK_BYTES: usize = 512 * 1024;

pub struct Pool {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    results: Receiver<(Server, Done)>,
    report: Sender<(Server, Done)>,
    wake_up: Arc<WakeUp>,
    caller: Caller,
    most: usize,
    threads: usize,
    busy: usize,
    /// The calls that are under way, by the server they go to.
    held: HashMap<Server, usize>,
}

/// File descriptors left to PostgreSQL: it opens WAL where a failure would end the whole server.
const DESCRIPTORS_OF_POSTGRES: u64 = 256;

/// How many of the calls that are wanted this process can make at the same time: each holds a file
/// descriptor. A process may raise its own soft limit up to the hard one, and this one does: PostgreSQL
/// waits by epoll, and nothing else here by `select`, which is what the low default protects.
pub fn most_calls(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(DESCRIPTORS_OF_POSTGRES);
    // SAFETY: reads into, and sets from, a struct that lives on this stack.
    let open_files = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        if limit.rlim_cur < needed {
            let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), ..limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
                limit = raised;
            }
        }
        limit.rlim_cur
    };
    let left = open_files.saturating_sub(DESCRIPTORS_OF_POSTGRES);
    usize::try_from(left).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

impl Pool {
    /// A pool of at most `most` threads. Errors: the system has no file descriptor left.
    pub fn new(most: usize, caller: Caller) -> std::io::Result<Self> {
        let (jobs, queue) = unbounded();
        let (report, results) = unbounded();
        let wake_up = Arc::new(WakeUp::new()?);
        let held = HashMap::new();
        Ok(Self { jobs, queue, results, report, wake_up, caller, most, threads: 0, busy: 0, held })
    }

    /// Whether the calls that begin from now on go by other settings than those before.
    pub fn go_by(&self, outgoing: Outgoing) -> bool {
        self.caller.go_by(outgoing)
    }

    /// What the main loop waits on: readable when a result is there.
    pub fn fd(&self) -> RawFd {
        self.wake_up.fd()
    }

    pub fn most(&self) -> usize {
        self.most
    }

    pub fn free(&self) -> usize {
        self.most.saturating_sub(self.busy)
    }

    /// The calls that are under way, by the server they go to.
    pub fn held(&self) -> &HashMap<Server, usize> {
        &self.held
    }

    /// Gives a job to a thread. The caller has counted `free`: a job never waits for a thread.
    pub fn run(&mut self, job: Job) {
        let server = job.server();
        self.busy += 1;
        *self.held.entry(server).or_default() += 1;
        if self.busy > self.threads && !self.spawn() && self.threads == 0 {
            // Nobody will ever take it: it comes back as not begun.
            let _ = self.report.send((server, job.identity().never_began()));
            self.wake_up.ring();
            return;
        }
        // Cannot fail: this struct holds a receiver.
        let _ = self.jobs.send(job);
    }

    /// The results that have come, without waiting.
    pub fn drain(&mut self) -> Vec<Done> {
        self.wake_up.quiet();
        let done: Vec<(Server, Done)> = self.results.try_iter().collect();
        self.busy = self.busy.saturating_sub(done.len());
        for (server, _) in &done {
            if let Entry::Occupied(mut held) = self.held.entry(*server) {
                *held.get_mut() -= 1;
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
        done.into_iter().map(|(_, done)| done).collect()
    }

    /// One more thread; whether the system gave one. Without it the job waits for one that runs.
    fn spawn(&mut self) -> bool {
        let (queue, report) = (self.queue.clone(), self.report.clone());
        let (wake_up, caller) = (Arc::clone(&self.wake_up), self.caller.clone());
        let name = format!("whaply call {}", self.threads);
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
        let spawned =
            with_signals_blocked(|| thread.spawn(move || work(&queue, &report, &wake_up, &caller)));
        self.threads += usize::from(spawned.is_ok());
        spawned.is_ok()
    }
}

fn work(queue: &Receiver<Job>, report: &Sender<(Server, Done)>, wake_up: &WakeUp, caller: &Caller) {
    for job in queue {
        let (server, identity) = (job.server(), job.identity());
        let done =
            catch_unwind(AssertUnwindSafe(|| job.run(caller))).unwrap_or_else(|_| identity.broke());
        if report.send((server, done)).is_err() {
            return;
        }
        wake_up.ring();
    }
}
