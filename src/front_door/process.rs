//! The life of the listener: connect, listen where the settings say, store what comes, until the
//! setting, the extension, the database or the server goes. At SIGTERM it takes nobody in any more,
//! finishes what it took, and leaves.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use super::address::TrustedProxies;
use super::batches::Batches;
use super::checks::Checks;
use super::hall::{Hall, Rules};
use super::http::HttpSide;
use super::state::Noted;
use super::stopping;
use crate::process::guarded::transaction;
use crate::process::{
    Sleep, activity, install_signal_handlers_with, memory, most_sockets, pin_before_connecting,
    pin_settings,
};
use crate::secrets;
use crate::server_log::log;
use crate::settings::{self, FrontDoor};
use crate::store::extension::{self, Presence};
use crate::worker::board::{Status, board};

/// How often the extension is looked for, and a failed attempt to listen is repeated.
const LOOK: Duration = Duration::from_secs(5);

/// How long it finishes what it took. DROP DATABASE WITH (FORCE) waits for 5 s.
const TIME_TO_LEAVE: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(10);

/// Entry point of the listener. `database` is the OID of the database as an integer.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn whaply_listener(database: pg_sys::Datum) {
    let database = pg_sys::Oid::from(database.value() as u32);
    // SAFETY: the start of a background worker, signals still blocked.
    unsafe { install_signal_handlers_with(stopping::terminate) }
    if !arrive(database) {
        return;
    }
    pin_before_connecting();
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    activity::call_process(c"whaply listener");
    pin_settings();
    memory::keep_no_large_pieces();
    let front_door = settings::front_door();
    let hall = Hall::new(rules_of(&front_door)).map(Arc::new);
    let http = hall.and_then(|hall| Ok((HttpSide::start(Arc::clone(&hall))?, hall)));
    match http {
        Ok((http, hall)) => {
            take_place();
            Listener::new(database, http, hall, front_door).run();
        }
        Err(error) => log!("whaply: the listener could not start: {error}"),
    }
}

/// The process, from its start to its end.
struct Listener {
    database: pg_sys::Oid,
    http: HttpSide,
    hall: Arc<Hall>,
    sleep: Sleep,
    batches: Batches,
    checks: Checks,
    front_door: FrontDoor,
    /// Where it listens, as the setting has it.
    open_at: Option<String>,
    looked_at: Instant,
    /// What the log has said of a failure last.
    said: Option<String>,
}

impl Listener {
    fn new(database: pg_sys::Oid, http: HttpSide, hall: Arc<Hall>, front_door: FrontDoor) -> Self {
        Self {
            database,
            http,
            sleep: Sleep::on(hall.queue.fd()),
            batches: Batches::new(Arc::clone(&hall)),
            hall,
            checks: Checks::default(),
            front_door,
            open_at: None,
            looked_at: Instant::now(),
            said: None,
        }
    }

    fn run(mut self) {
        let why = match self.why_to_leave() {
            Some(why) => why,
            None => {
                self.listen();
                self.serve()
            }
        };
        self.leave(why);
    }

    /// Serves until there is a reason to leave.
    fn serve(&mut self) -> &'static str {
        loop {
            let was_busy = self.batches.round();
            self.checks.answer(self.hall.queue.questions());
            self.batches.count_turned_away();
            activity::tell(&self.standing());
            if !was_busy {
                self.sleep.until_event(LOOK);
            }
            self.process_interrupts();
            let is_time_to_look = self.batches.take_doubt() || self.looked_at.elapsed() >= LOOK;
            if stopping::is_stopping() {
                return "it was told to stop";
            }
            if self.is_stopped_by_hand() {
                return "stop_worker() was called";
            }
            if self.is_in_the_way() {
                return "a command needs its database for itself";
            }
            if is_time_to_look {
                self.looked_at = Instant::now();
                if let Some(why) = self.why_to_leave() {
                    return why;
                }
                self.listen();
            }
        }
    }

    /// What `pg_stat_activity` shows.
    fn standing(&self) -> String {
        let (connections, waiting) = (self.hall.connections.count(), self.hall.queue.length());
        match &self.open_at {
            Some(address) => format!(
                "whaply: listening on {address}; {connections} connections, {waiting} webhooks wait"
            ),
            None => "whaply: not listening; the log says why".to_owned(),
        }
    }

    /// Interrupts absorb the barriers that DROP DATABASE of any database waits for.
    fn process_interrupts(&mut self) {
        // SAFETY: main thread, no transaction open.
        let is_to_reload = unsafe {
            if pg_sys::InterruptPending != 0 {
                pg_sys::ProcessInterrupts();
            }
            std::ptr::replace(&raw mut pg_sys::ConfigReloadPending, 0) != 0
        };
        if is_to_reload {
            // SAFETY: main thread, no transaction open.
            unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) }
            self.front_door = settings::front_door();
            self.hall.set_rules(rules_of(&self.front_door));
            self.batches.settings_changed();
        }
    }

    fn is_stopped_by_hand(&self) -> bool {
        let slot = board().and_then(|board| board.slot(self.database.to_u32()));
        slot.is_some_and(|slot| slot.status() == Status::Stopped)
    }

    fn is_in_the_way(&self) -> bool {
        board().is_some_and(|board| board.holds().is_held(self.database.to_u32()))
    }

    fn why_to_leave(&self) -> Option<&'static str> {
        if self.front_door.listen.is_none() {
            return Some("whaply.listen is empty");
        }
        let looked = transaction(|| Ok((extension::presence(None)?, extension::database_name()?)));
        let Ok((presence, name)) = looked else { return None };
        if presence == Presence::Gone {
            return Some("the extension is gone");
        }
        let named = self.front_door.database.as_ref();
        named.is_some_and(|named| *named != name).then_some("whaply.database names another")
    }

    /// Listens where the setting says, if it does not yet.
    fn listen(&mut self) {
        let wanted = self.front_door.listen.clone();
        if self.open_at == wanted {
            return;
        }
        let Some(wanted) = wanted else { return };
        self.open_at = None;
        match address_of(&wanted).and_then(|address| self.http.open(address)) {
            Ok(address) => {
                log!("whaply: listening on {address}");
                self.open_at = Some(wanted);
                self.said = None;
                note(Noted::note_open);
            }
            Err(error) => {
                note(|noted| noted.note_trouble(&error));
                let trouble = format!("whaply: cannot listen on {wanted}: {error}");
                if self.said.as_ref() != Some(&trouble) {
                    warning!("{trouble}");
                    self.said = Some(trouble);
                }
            }
        }
    }

    fn leave(mut self, why: &str) {
        let was_open = self.open_at.is_some();
        self.http.close_for_good();
        let until = Instant::now() + TIME_TO_LEAVE;
        while self.hall.connections.count() > 0 && Instant::now() < until {
            if !self.batches.round() {
                self.sleep.until_event(STEP);
            }
            self.checks.answer(self.hall.queue.questions());
            self.batches.count_turned_away();
        }
        self.hall.queue.close();
        self.http.end();
        if was_open {
            log!("whaply: stopped listening: {why}");
        }
    }
}

fn address_of(listen: &str) -> std::io::Result<SocketAddr> {
    let mut addresses = listen.to_socket_addrs()?;
    addresses.next().ok_or_else(|| std::io::Error::other("the name has no address"))
}

/// The settings as the threads go by them. What cannot be read is said, and counts as not given.
fn rules_of(front_door: &FrontDoor) -> Rules {
    let mut limits = front_door.limits.clone();
    limits.max_clients = most_sockets(limits.max_clients);
    let trusted = TrustedProxies::parse(&limits.trusted_proxies).unwrap_or_else(|part| {
        warning!("whaply: whaply.trusted_proxies: \"{part}\" is no address and no network");
        TrustedProxies::default()
    });
    let source = front_door.metrics_token_source.as_deref();
    let metrics_token = source.map_or(Ok(None), secrets::of_setting).unwrap_or_else(|trouble| {
        warning!("whaply: whaply.metrics_token: {trouble}");
        None
    });
    Rules { limits, trusted, metrics_token }
}

/// Before it connects: whether it is the only listener, and the database not held. (A launcher that was
/// restarted does not know of the one that its predecessor started.)
fn arrive(database: pg_sys::Oid) -> bool {
    let Some(board) = board() else { return false };
    let listener = board.listener();
    // SAFETY: reads a global of this process; the callback runs once, when it ends, as the last of ours.
    unsafe {
        if !listener.arrive(pg_sys::MyProcPid) {
            return false;
        }
        pg_sys::before_shmem_exit(Some(depart), 0.into());
    }
    listener.serve(database.to_u32());
    let is_held = board.holds().is_held(database.to_u32());
    if is_held {
        listener.make_way();
    }
    !is_held
}

/// # Safety
/// Called by PostgreSQL when this process ends, on its main thread.
#[pg_guard]
unsafe extern "C-unwind" fn depart(_code: i32, _argument: pg_sys::Datum) {
    if let Some(board) = board() {
        board.listener().serve(0);
        // SAFETY: reads a global of this process.
        board.listener().depart(unsafe { pg_sys::MyProcPid });
    }
}

/// Tells the other processes that this is the listener, until it ends.
fn take_place() {
    let Some(board) = board() else { return };
    // SAFETY: the latch lies in shared memory; the callback runs once, when this process ends.
    unsafe {
        let latch = &raw const (*pg_sys::MyProc).procLatch as usize;
        board.listening().note_nothing();
        board.listener().occupy(pg_sys::MyProcPid, latch);
        pg_sys::before_shmem_exit(Some(leave_place), 0.into());
    }
}

/// # Safety
/// Called by PostgreSQL when this process ends, on its main thread.
#[pg_guard]
unsafe extern "C-unwind" fn leave_place(_code: i32, _argument: pg_sys::Datum) {
    if let Some(board) = board() {
        board.listener().occupy(0, 0);
        board.listening().note_nothing();
    }
}

fn note(how: impl FnOnce(&Noted)) {
    if let Some(board) = board() {
        how(board.listening());
    }
}
