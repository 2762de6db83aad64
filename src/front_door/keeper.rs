//! The launcher's part: it starts the listener where one shall be, again when it died, and says once
//! why none is there. The listener itself leaves when the settings or the extension go.

use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::prelude::*;

use super::choice::{Choice, Known, choose};
use crate::settings;
use crate::worker::board::board;

/// A listener that died is started again after this, doubled each time up to the longest.
const FIRST_RESTART: Duration = Duration::from_secs(1);
const LONGEST_RESTART: Duration = Duration::from_secs(60);

/// A listener that lived this long died of something new.
const LIVED_WELL: Duration = Duration::from_secs(60);

pub struct Keeper {
    listener: Option<DynamicBackgroundWorker>,
    started_at: Instant,
    restart_at: Instant,
    backoff: Duration,
    said: Choice,
}

impl Default for Keeper {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            listener: None,
            started_at: now,
            restart_at: now,
            backoff: FIRST_RESTART,
            said: Choice::Off,
        }
    }
}

impl Keeper {
    /// Looks at the listener and starts one if it is due. `known`: all databases.
    pub fn round(&mut self, known: &[Known]) {
        self.notice_end();
        let front_door = settings::front_door();
        let choice = choose(front_door.listen.as_deref(), front_door.database.as_deref(), known);
        self.say(&choice);
        if let Choice::Serve(database) = choice
            && self.listener.is_none()
            && self.restart_at <= Instant::now()
        {
            if is_listening() {
                // The one that a launcher before this one started.
                self.put_off();
            } else {
                self.start(database);
            }
        }
    }

    /// When it has to look again, if nothing happens.
    pub fn until_next(&self, now: Instant) -> Option<Duration> {
        let is_due = self.listener.is_none() && matches!(self.said, Choice::Serve(_));
        is_due.then(|| self.restart_at.saturating_duration_since(now))
    }

    fn notice_end(&mut self) {
        let ended = self.listener.as_ref().map(DynamicBackgroundWorker::pid);
        if !matches!(ended, Some(Err(BackgroundWorkerStatus::Stopped))) {
            return;
        }
        self.listener = None;
        if self.started_at.elapsed() >= LIVED_WELL {
            self.backoff = FIRST_RESTART;
        }
        self.put_off();
    }

    fn start(&mut self, database: u32) {
        self.started_at = Instant::now();
        match builder(database).load_dynamic() {
            Ok(listener) => self.listener = Some(listener),
            Err(_) => {
                warning!(
                    "whaply: no background worker slot is free for the listener: raise max_worker_processes"
                );
                self.put_off();
            }
        }
    }

    fn put_off(&mut self) {
        self.restart_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(LONGEST_RESTART);
    }

    /// One line for each change. While one listens, more databases do not matter until it ends.
    fn say(&mut self, choice: &Choice) {
        if *choice == self.said || *choice == Choice::NotYet {
            return;
        }
        self.said = choice.clone();
        match choice {
            Choice::Several if is_listening() => warning!(
                "whaply: several databases have the extension now: set whaply.database, or nothing will listen after \
                 the next restart"
            ),
            Choice::Several => warning!(
                "whaply: nothing listens at whaply.listen: several databases have the extension, and whaply.database \
                 names none"
            ),
            Choice::NotThere(name) => warning!(
                "whaply: nothing listens at whaply.listen: the database \"{name}\" that whaply.database names has no \
                 extension whaply"
            ),
            Choice::Nowhere => {
                log!(
                    "whaply: nothing listens at whaply.listen: no database has the extension whaply"
                );
            }
            Choice::Stopped => log!("whaply: nothing listens: stop_worker() was called"),
            // The settings, or the listener, have changed: it need not wait for a former failure.
            Choice::Serve(_) | Choice::Off | Choice::NotYet => {
                self.backoff = FIRST_RESTART;
                self.restart_at = Instant::now();
            }
        }
    }
}

/// Whether there is a listener, whoever started it.
fn is_listening() -> bool {
    board().is_some_and(|board| board.listener().pid() != 0)
}

fn builder(database: u32) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new("whaply listener")
        .set_type("whaply listener")
        .set_library("whaply")
        .set_function("whaply_listener")
        .set_argument(Some(pg_sys::Datum::from(database)))
        .enable_spi_access()
        .set_restart_time(None)
        // SAFETY: reads a global of this process.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
}
