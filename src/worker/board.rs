//! What the processes of whaply tell each other through shared memory: which database has a worker,
//! and the latches to wake them by. Only atomics, so that a commit callback can read it: nothing
//! that it calls allocates, locks or panics. Without preload there is no board.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicUsize, Ordering};

use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgAtomic};

use super::holds::Holds;
use crate::front_door::Noted;

/// Databases with a worker, at most. Beyond it a database is left without one, and the log says so.
pub const MOST_DATABASES: usize = 256;

/// What a worker of a database is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Not started yet, or between two starts.
    Starting = 0,
    Running = 1,
    /// The database has no extension: the launcher forgets it until something changes.
    NotNeeded = 2,
    /// `stop_worker()`: not started again before `start_worker()` or a restart of the server.
    Stopped = 3,
}

impl Status {
    fn from_u32(value: u32) -> Self {
        match value {
            1 => Self::Running,
            2 => Self::NotNeeded,
            3 => Self::Stopped,
            _ => Self::Starting,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::NotNeeded => "not needed",
            Self::Stopped => "stopped",
        }
    }
}

/// One database's place on the board.
#[derive(Default)]
pub struct Slot {
    /// 0: the slot is free. Only the launcher assigns slots.
    database: AtomicU32,
    status: AtomicU32,
    pid: AtomicI32,
    /// The process that is connected to the database, or about to be: before it has its place, and until
    /// it has left. 0: none.
    process: AtomicI32,
    /// A command on the database made it leave: that was no failure.
    made_way: AtomicBool,
    /// Address of the worker's latch in shared memory, 0 while it has none. Stale for a moment
    /// after a worker died: setting the latch of another process only wakes it.
    latch: AtomicUsize,
    /// When the worker looks by itself, in microseconds since 1970: what is due later need not wake it.
    /// The furthest time while it is awake: a look that is under way may miss what comes now.
    sleeps_until: AtomicI64,
    /// The worker could not be started: the server has no background worker slot left.
    without_process: AtomicBool,
}

/// Shared by every process of the server.
pub struct Board {
    launcher_latch: AtomicUsize,
    /// Something changed that may need a worker: look at every database again.
    rescan: AtomicBool,
    /// The server's only listener, and the database that it serves.
    listener: Slot,
    listening: Noted,
    /// Databases for which there is no slot.
    left_out: AtomicUsize,
    holds: Holds,
    slots: [Slot; MOST_DATABASES],
}

impl Default for Board {
    fn default() -> Self {
        Self {
            launcher_latch: AtomicUsize::new(0),
            rescan: AtomicBool::new(false),
            listener: Slot::default(),
            listening: Noted::default(),
            left_out: AtomicUsize::new(0),
            holds: Holds::default(),
            slots: std::array::from_fn(|_| Slot::default()),
        }
    }
}

// SAFETY: made of atomics only, without pointers that Rust follows, so that processes may share it.
unsafe impl PGRXSharedMemory for Board {}

// SAFETY: no other extension names its shared memory so.
pub(super) static BOARD: PgAtomic<Board> = unsafe { PgAtomic::new(c"whaply board") };

/// Set by `_PG_init` in the postmaster and inherited by every process it forks.
static PRELOADED: AtomicBool = AtomicBool::new(false);

pub(super) fn mark_preloaded() {
    PRELOADED.store(true, Ordering::Relaxed);
}

/// The board, or None if the library was not preloaded.
pub fn board() -> Option<&'static Board> {
    PRELOADED.load(Ordering::Relaxed).then(|| BOARD.get())
}

impl Board {
    /// The slot of a database, if the launcher gave it one.
    pub fn slot(&self, database: u32) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.database.load(Ordering::Acquire) == database)
    }

    /// Gives a database a slot; None if none is free. For the launcher only.
    pub fn assign(&self, database: u32) -> Option<&Slot> {
        if let Some(slot) = self.slot(database) {
            return Some(slot);
        }
        let free = self.slot(0)?;
        free.set_status(Status::Starting);
        free.pid.store(0, Ordering::Release);
        free.process.store(0, Ordering::SeqCst);
        free.made_way.store(false, Ordering::Release);
        free.latch.store(0, Ordering::Release);
        free.stay_awake();
        free.set_without_process(false);
        free.database.store(database, Ordering::Release);
        Some(free)
    }

    pub fn listener(&self) -> &Slot {
        &self.listener
    }

    /// Why nothing listens, if nothing does.
    pub fn listening(&self) -> &Noted {
        &self.listening
    }

    /// How many databases may need a worker and have no slot.
    pub fn left_out(&self) -> usize {
        self.left_out.load(Ordering::Acquire)
    }

    pub fn set_left_out(&self, databases: usize) {
        self.left_out.store(databases, Ordering::Release);
    }

    /// The databases whose worker the server had no process for.
    pub fn without_process(&self) -> Vec<u32> {
        let lacking = self.slots.iter().filter(|slot| slot.without_process.load(Ordering::Acquire));
        lacking.map(Slot::database).filter(|&database| database != 0).collect()
    }

    /// The databases that no process of whaply may be connected to at the moment.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Whether a process of whaply is connected to the database, or about to be.
    pub fn is_occupied(&self, database: u32) -> bool {
        self.occupied_slots(database).next().is_some()
    }

    /// The places whose processes are connected to the database, or about to be.
    pub fn occupied_slots(&self, database: u32) -> impl Iterator<Item = &Slot> {
        let listener = (self.listener.database() == database).then_some(&self.listener);
        let slots = self.slot(database).into_iter().chain(listener);
        slots.filter(|slot| slot.process() != 0)
    }

    pub fn set_launcher_latch(&self, latch: usize) {
        self.launcher_latch.store(latch, Ordering::Release);
    }

    pub fn ask_for_rescan(&self) {
        self.rescan.store(true, Ordering::Release);
        set_latch(self.launcher_latch.load(Ordering::Acquire));
    }

    pub fn take_rescan(&self) -> bool {
        self.rescan.swap(false, Ordering::AcqRel)
    }
}

impl Slot {
    pub fn free(&self) {
        self.latch.store(0, Ordering::Release);
        self.database.store(0, Ordering::Release);
    }

    pub fn status(&self) -> Status {
        Status::from_u32(self.status.load(Ordering::Acquire))
    }

    pub fn set_status(&self, status: Status) {
        self.status.store(status as u32, Ordering::Release);
    }

    pub fn set_without_process(&self, lacks: bool) {
        self.without_process.store(lacks, Ordering::Release);
    }

    /// There is nothing to do in this database. A worker that was stopped stays that.
    pub fn rest(&self) {
        self.move_status(|status| (status != Status::Stopped).then_some(Status::NotNeeded));
    }

    /// There is something to do after all.
    pub fn end_rest(&self) {
        let now = if self.pid() == 0 { Status::Starting } else { Status::Running };
        self.move_status(|status| (status == Status::NotNeeded).then_some(now));
    }

    fn move_status(&self, to: impl Fn(Status) -> Option<Status>) {
        let update = |value| to(Status::from_u32(value)).map(|status| status as u32);
        // An error only means that nothing was to be moved.
        let _ = self.status.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
    }

    /// Ends the rest of a stopped worker: the launcher may start one.
    pub fn allow_start(&self) {
        let status = if self.pid() == 0 { Status::Starting } else { Status::Running };
        self.set_status(status);
    }

    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    pub fn process(&self) -> i32 {
        self.process.load(Ordering::SeqCst)
    }

    /// A process is about to connect; whether no other has this place.
    pub fn arrive(&self, pid: i32) -> bool {
        self.process.compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The process is connected no more; false: it never had this place.
    pub fn depart(&self, pid: i32) -> bool {
        self.process.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Its process leaves, or does not come, because a command needs the database for itself.
    pub fn make_way(&self) {
        self.made_way.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether its process went for that reason. Asked once for each end.
    pub fn take_made_way(&self) -> bool {
        self.made_way.swap(false, Ordering::AcqRel)
    }

    /// SIGTERM, as `pg_terminate_backend` sends it.
    pub fn terminate(&self) {
        let process = self.process();
        if process != 0 {
            // SAFETY: a plain libc call; the process says itself when it is gone.
            unsafe { libc::kill(process, libc::SIGTERM) };
        }
    }

    /// For the listener's place, which no database has for itself: which one it serves. 0: none.
    pub fn serve(&self, database: u32) {
        self.database.store(database, Ordering::SeqCst);
    }

    /// A worker takes its place, or leaves it (pid 0, latch 0).
    pub fn occupy(&self, pid: i32, latch: usize) {
        self.pid.store(pid, Ordering::Release);
        self.latch.store(latch, Ordering::Release);
    }

    /// The database that is served, 0: none.
    pub fn database(&self) -> u32 {
        self.database.load(Ordering::Acquire)
    }

    pub fn wake(&self) {
        set_latch(self.latch.load(Ordering::Acquire));
    }

    /// Wakes the worker for something that is due at a time, unless it looks by then anyway.
    pub fn wake_for(&self, due_at: i64) {
        if due_at < self.sleeps_until.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// The worker begins to look: whatever comes from here on wakes it once more.
    pub fn stay_awake(&self) {
        self.sleeps_until.store(i64::MAX, Ordering::SeqCst);
    }

    pub fn sleep_until(&self, time: i64) {
        self.sleeps_until.store(time, Ordering::SeqCst);
    }
}

fn set_latch(address: usize) {
    let latch = address as *mut pg_sys::Latch;
    if !latch.is_null() {
        // SAFETY: the address is that of a latch in the server's shared memory, which lives as
        // long as the server; SetLatch neither allocates nor raises.
        unsafe { pg_sys::SetLatch(latch) }
    }
}
