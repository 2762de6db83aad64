//! The threads that make HTTP calls. They touch nothing of PostgreSQL: a plain job goes in, a plain
//! result comes out, and an eventfd wakes the main loop. Threads are made when first needed.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::jobs::{Done, Job};
use crate::net::Caller;

/// ureq and rustls need far less than the 2 MiB that Rust gives a thread.
const STACK_BYTES: usize = 512 * 1024;

pub struct Pool {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    results: Receiver<Done>,
    report: Sender<Done>,
    signal: Arc<OwnedFd>,
    caller: Caller,
    most: usize,
    threads: usize,
    busy: usize,
}

/// File descriptors left to PostgreSQL: it opens WAL where a failure would end the whole server.
const DESCRIPTORS_OF_POSTGRES: u64 = 256;

/// How many calls this process can make at the same time: each holds a file descriptor.
pub fn most_calls() -> usize {
    // SAFETY: fills a struct that lives on this stack.
    let limit = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur
    };
    usize::try_from(limit.saturating_sub(DESCRIPTORS_OF_POSTGRES)).unwrap_or(usize::MAX).max(1)
}

impl Pool {
    /// A pool of at most `most` threads. Errors: the system has no file descriptor left.
    pub fn new(most: usize, caller: Caller) -> std::io::Result<Self> {
        let (jobs, queue) = unbounded();
        let (report, results) = unbounded();
        let signal = Arc::new(eventfd()?);
        Ok(Self { jobs, queue, results, report, signal, caller, most, threads: 0, busy: 0 })
    }

    /// What the main loop waits on: readable when a result is there.
    pub fn fd(&self) -> RawFd {
        self.signal.as_raw_fd()
    }

    pub fn free(&self) -> usize {
        self.most.saturating_sub(self.busy)
    }

    /// Gives a job to a thread. The caller has counted `free`: a job never waits for a thread.
    pub fn run(&mut self, job: Job) {
        self.busy += 1;
        if self.busy > self.threads && !self.spawn() && self.threads == 0 {
            // Nobody will ever take it: it comes back as not begun.
            let _ = self.report.send(job.identity().never_began());
            ring(self.signal.as_raw_fd());
            return;
        }
        // Cannot fail: this struct holds a receiver.
        let _ = self.jobs.send(job);
    }

    /// The results that have come, without waiting.
    pub fn drain(&mut self) -> Vec<Done> {
        drain_eventfd(self.signal.as_raw_fd());
        let done: Vec<Done> = self.results.try_iter().collect();
        self.busy = self.busy.saturating_sub(done.len());
        done
    }

    /// One more thread; whether the system gave one. Without it the job waits for one that runs.
    fn spawn(&mut self) -> bool {
        let (queue, report) = (self.queue.clone(), self.report.clone());
        let (signal, caller) = (Arc::clone(&self.signal), self.caller.clone());
        let name = format!("whaply call {}", self.threads);
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
        let spawned =
            with_signals_blocked(|| thread.spawn(move || work(&queue, &report, &signal, &caller)));
        self.threads += usize::from(spawned.is_ok());
        spawned.is_ok()
    }
}

fn work(queue: &Receiver<Job>, report: &Sender<Done>, signal: &OwnedFd, caller: &Caller) {
    for job in queue {
        let identity = job.identity();
        let done =
            catch_unwind(AssertUnwindSafe(|| job.run(caller))).unwrap_or_else(|_| identity.broke());
        if report.send(done).is_err() {
            return;
        }
        ring(signal.as_raw_fd());
    }
}

/// Signals are the main thread's: PostgreSQL's handlers must not run on another, and a thread that
/// took SIGURG would swallow the wake-ups of the latch. A thread inherits the mask of its maker.
fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: plain libc calls on sets that live on this stack.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let value = body();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        value
    }
}

fn eventfd() -> std::io::Result<OwnedFd> {
    // SAFETY: a new descriptor, owned by nobody else.
    unsafe {
        match libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) {
            -1 => Err(std::io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn ring(fd: RawFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: writes eight bytes of a local array to an open eventfd. A full counter is readable.
    unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
}

fn drain_eventfd(fd: RawFd) {
    let mut count = [0u8; 8];
    // SAFETY: reads eight bytes into a local array; the descriptor does not block.
    unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) };
}
