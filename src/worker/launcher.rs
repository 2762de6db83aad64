//! The launcher: one process of the server that finds the databases with the extension and keeps a
//! reply worker running in each, and the server's listener. It reads no table but pg_database, and never
//! another database's.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::prelude::*;

use super::board::{Board, MOST_DATABASES, Status, board};
use crate::front_door::{Keeper, Known, State};
use crate::process::guarded::transaction_without_sql;
use crate::process::{
    Restarts, activity, install_signal_handlers, pin_before_connecting, worker_of,
};

/// How often new databases are looked for (CREATE DATABASE … TEMPLATE tells nobody).
const NAP: Duration = Duration::from_secs(60);

/// A worker that dies again and again is started this seldom.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// While a probe starts, its end is awaited in such steps: the launcher starts one at a time.
const STEP: Duration = Duration::from_millis(100);

struct Watched {
    worker: Option<DynamicBackgroundWorker>,
    restarts: Restarts,
}

struct Launcher {
    board: &'static Board,
    /// The names of all databases at the last look.
    databases: HashMap<u32, String>,
    watched: HashMap<u32, Watched>,
    not_needed: HashSet<u32>,
    keeper: Keeper,
    scanned_at: Option<Instant>,
    said_full: bool,
}

/// Entry point of the launcher.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn whaply_launcher(_argument: pg_sys::Datum) {
    pin_before_connecting();
    // SAFETY: the start of a background worker, signals still blocked. Connecting to no database
    // gives access to the shared catalogs, as autovacuum's launcher has it.
    unsafe {
        install_signal_handlers();
        pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
    }
    activity::call_process(c"whaply launcher");
    let Some(board) = board() else { return };
    // SAFETY: the latch lies in shared memory.
    board.set_launcher_latch(unsafe { &raw const (*pg_sys::MyProc).procLatch as usize });
    let mut launcher = Launcher {
        board,
        databases: HashMap::new(),
        watched: HashMap::new(),
        not_needed: HashSet::new(),
        keeper: Keeper::default(),
        scanned_at: None,
        said_full: false,
    };
    loop {
        launcher.round();
        launcher.wait();
    }
}

impl Launcher {
    fn round(&mut self) {
        if self.board.take_rescan() {
            self.not_needed.clear();
            self.scanned_at = None;
        }
        self.notice_ends();
        if self.scanned_at.is_none_or(|at| at.elapsed() >= NAP) {
            self.scan();
        }
        self.start_next();
        self.keeper.round(&self.known());
    }

    /// What is known of each database.
    fn known(&self) -> Vec<Known> {
        let known = self.databases.iter().map(|(&database, name)| {
            let status = self.board.slot(database).map(|slot| slot.status());
            let state = match status {
                _ if self.not_needed.contains(&database) => State::WithoutExtension,
                Some(Status::Running) => State::HasExtension,
                Some(Status::Stopped) => State::Stopped,
                Some(Status::Starting) => State::Undecided,
                Some(Status::NotNeeded) | None => State::WithoutExtension,
            };
            Known { database, name: name.clone(), state }
        });
        known.collect()
    }

    /// Learns which workers have ended, and why.
    fn notice_ends(&mut self) {
        for (&database, watched) in &mut self.watched {
            let Some(worker) = &watched.worker else { continue };
            let Err(BackgroundWorkerStatus::Stopped) = worker.pid() else { continue };
            watched.worker = None;
            let now = Instant::now();
            let slot = self.board.slot(database);
            let made_way = slot.is_some_and(|slot| slot.take_made_way());
            match slot.map(|slot| slot.status()) {
                Some(Status::NotNeeded) => drop(self.not_needed.insert(database)),
                // Stopped on purpose: it may start again at once.
                Some(Status::Stopped) => watched.restarts.forgive(now),
                _ if made_way => watched.restarts.forgive(now),
                _ => drop(watched.restarts.note_end(now)),
            }
        }
        let (board, not_needed) = (self.board, &self.not_needed);
        self.watched.retain(|database, _| {
            let stays = !not_needed.contains(database);
            if let (false, Some(slot)) = (stays, board.slot(*database)) {
                slot.free();
            }
            stays
        });
    }

    /// Compares what is watched with the databases there are.
    fn scan(&mut self) {
        let databases = match transaction_without_sql(|| Ok(databases())) {
            Ok(databases) => databases,
            Err(error) => {
                warning!("whaply: the launcher could not read pg_database: {error}");
                return;
            }
        };
        self.scanned_at = Some(Instant::now());
        self.not_needed.retain(|database| databases.contains_key(database));
        let board = self.board;
        self.watched.retain(|database, watched| {
            let gone = watched.worker.is_none() && !databases.contains_key(database);
            if let (true, Some(slot)) = (gone, board.slot(*database)) {
                slot.free();
            }
            !gone
        });
        let wanted = databases.keys().filter(|database| !self.not_needed.contains(database));
        let wanted: Vec<u32> = wanted.copied().collect();
        let left_out = wanted.into_iter().filter(|&database| !self.watch(database)).count();
        self.note_left_out(left_out);
        self.databases = databases;
    }

    fn note_left_out(&mut self, databases: usize) {
        self.board.set_left_out(databases);
        if databases > 0 && !self.said_full {
            warning!(
                "whaply: more than {MOST_DATABASES} databases: the others get no reply worker"
            );
            self.said_full = true;
        }
    }

    /// Whether the database has a place on the board.
    fn watch(&mut self, database: u32) -> bool {
        if self.watched.contains_key(&database) {
            return true;
        }
        if self.board.assign(database).is_none() {
            return false;
        }
        let restarts = Restarts::new(LONGEST_WAIT, Instant::now());
        self.watched.insert(database, Watched { worker: None, restarts });
        true
    }

    /// Starts one worker: a database without the extension occupies a slot for a moment only.
    fn start_next(&mut self) {
        if self.watched.iter().any(|(&database, watched)| self.is_starting(database, watched)) {
            return;
        }
        let (board, now) = (self.board, Instant::now());
        let due = |(database, watched): &(&u32, &mut Watched)| {
            let status = board.slot(**database).map(|slot| slot.status());
            watched.worker.is_none()
                && watched.restarts.is_due(now)
                && status == Some(Status::Starting)
                && !board.holds().is_held(**database)
        };
        let Some((&database, watched)) = self.watched.iter_mut().find(due) else { return };
        watched.restarts.note_start(now);
        let started = builder(database).load_dynamic();
        if let Some(slot) = board.slot(database) {
            slot.set_without_process(started.is_err());
        }
        match started {
            Ok(worker) => watched.worker = Some(worker),
            Err(_) => {
                warning!(
                    "whaply: no background worker slot is free for database {database}: raise max_worker_processes"
                );
                watched.restarts.put_off(now);
            }
        }
    }

    fn is_starting(&self, database: u32, watched: &Watched) -> bool {
        let status = self.board.slot(database).map(|slot| slot.status());
        watched.worker.is_some() && status == Some(Status::Starting)
    }

    /// How long nothing is due. One moment for both questions: what became due between two of them
    /// would be neither busy nor next, and wait for the nap's end.
    fn until_next(&self, now: Instant) -> Duration {
        let busy = self.watched.iter().any(|(&database, watched)| {
            let status = self.board.slot(database).map(|slot| slot.status());
            status == Some(Status::Starting)
                && !self.board.holds().is_held(database)
                && (watched.worker.is_some() || watched.restarts.is_due(now))
        });
        if busy {
            return STEP;
        }
        let restarts = self.watched.values().filter(|watched| watched.worker.is_none());
        let waits = restarts.map(|watched| watched.restarts.until_due(now));
        let waits = waits.filter(|wait| !wait.is_zero()).chain(self.keeper.until_next(now));
        waits.min().unwrap_or(NAP).min(NAP)
    }

    /// What `pg_stat_activity` shows.
    fn standing(&self) -> String {
        let workers = self.watched.values().filter(|watched| watched.worker.is_some()).count();
        format!("whaply: {workers} reply workers for {} databases", self.databases.len())
    }

    fn wait(&self) {
        activity::tell(&self.standing());
        let wait = self.until_next(Instant::now());
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: the latch of this process; main thread, no transaction open.
        unsafe {
            // Rounded up: a wait of less than a millisecond is none.
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).saturating_add(1);
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, wait, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
            if pg_sys::InterruptPending != 0 {
                pg_sys::ProcessInterrupts();
            }
            if std::ptr::replace(&raw mut pg_sys::ConfigReloadPending, 0) != 0 {
                pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
                self.board.ask_for_rescan();
            }
        }
    }
}

/// A reply worker for one database.
pub fn builder(database: u32) -> BackgroundWorkerBuilder {
    worker_of(database, "whaply reply worker", "whaply_reply_worker")
}

/// The databases that can be connected to, without templates.
fn databases() -> HashMap<u32, String> {
    let mut found = HashMap::new();
    // SAFETY: in a transaction; a plain scan of a shared catalog, its rows read before the next.
    unsafe {
        let relation =
            pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if (*row).datallowconn && !(*row).datistemplate {
                let name = std::ffi::CStr::from_ptr((*row).datname.data.as_ptr());
                found.insert((*row).oid.to_u32(), name.to_string_lossy().into_owned());
            }
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    found
}
