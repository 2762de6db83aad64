//! The threads that make HTTP calls. They touch nothing of PostgreSQL: a plain job goes in, a plain
//! result comes out, and an eventfd wakes the main loop. Threads are made when first needed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::counted::UnderWay;
use super::jobs::{Done, Job};
use super::places::Server;
use crate::net::{Caller, Outgoing};
use crate::process::{WakeUp, with_signals_blocked};

/// ureq and rustls need far less than the 2 MiB that Rust gives a thread.
const STACK_BYTES: usize = 512 * 1024;

pub struct Pool {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    results: Receiver<Report>,
    report: Sender<Report>,
    wake_up: Arc<WakeUp>,
    caller: Caller,
    most: usize,
    threads: usize,
    under_way: UnderWay,
    /// The calls that are under way, by the server they go to.
    held: HashMap<Server, usize>,
}

/// What a thread tells of a call: where it went, how long it took, and what came of it.
struct Report(Server, Duration, Done);

impl Pool {
    /// A pool of at most `most` threads. Errors: the system has no file descriptor left.
    pub fn new(most: usize, caller: Caller) -> std::io::Result<Self> {
        let (jobs, queue) = unbounded();
        let (report, results) = unbounded();
        let wake_up = Arc::new(WakeUp::new()?);
        let held = HashMap::new();
        let under_way = UnderWay::default();
        Ok(Self {
            jobs,
            queue,
            results,
            report,
            wake_up,
            caller,
            most,
            threads: 0,
            under_way,
            held,
        })
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
        self.most.saturating_sub(self.under_way.all())
    }

    /// The calls that are under way, by what they are for.
    pub fn under_way(&self) -> UnderWay {
        self.under_way
    }

    /// The calls that are under way, by the server they go to.
    pub fn held(&self) -> &HashMap<Server, usize> {
        &self.held
    }

    /// Gives a job to a thread. The caller has counted `free`: a job never waits for a thread.
    pub fn run(&mut self, job: Job) {
        let server = job.server();
        self.under_way.begin(&job);
        *self.held.entry(server).or_default() += 1;
        if self.under_way.all() > self.threads && !self.spawn() && self.threads == 0 {
            // Nobody will ever take it: it comes back as not begun.
            let done = job.identity().never_began();
            let _ = self.report.send(Report(server, Duration::ZERO, done));
            self.wake_up.ring();
            return;
        }
        // Cannot fail: this struct holds a receiver.
        let _ = self.jobs.send(job);
    }

    /// The results that have come, without waiting.
    pub fn drain(&mut self) -> Vec<Done> {
        self.wake_up.quiet();
        let reports: Vec<Report> = self.results.try_iter().collect();
        for Report(server, took, done) in &reports {
            self.under_way.end(done, *took);
            if let Entry::Occupied(mut held) = self.held.entry(*server) {
                *held.get_mut() -= 1;
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
        reports.into_iter().map(|Report(_, _, done)| done).collect()
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

fn work(queue: &Receiver<Job>, report: &Sender<Report>, wake_up: &WakeUp, caller: &Caller) {
    for job in queue {
        let (server, identity, began) = (job.server(), job.identity(), Instant::now());
        let done =
            catch_unwind(AssertUnwindSafe(|| job.run(caller))).unwrap_or_else(|_| identity.broke());
        if report.send(Report(server, began.elapsed(), done)).is_err() {
            return;
        }
        wake_up.ring();
    }
}
