//! The launcher's part: it starts the listener where one shall be, again when it died, and says once
//! why none is there. The listener itself leaves when the settings or the extension go.

use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::prelude::*;

use super::choice::{Choice, Known, choose};
use super::state::Door;
use crate::process::{Restarts, worker_of};
use crate::server_log::log;
use crate::settings;
use crate::worker::board::{Board, board};

/// A listener that dies again and again is started this seldom.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub struct Keeper {
    listener: Option<DynamicBackgroundWorker>,
    /// The database of the listener, or of the one that made way for a command and comes back.
    served: Option<u32>,
    restarts: Restarts,
    /// What keeps the one that is wanted from being there.
    trouble: Door,
    said: Choice,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            listener: None,
            served: None,
            restarts: Restarts::new(LONGEST_WAIT, Instant::now()),
            trouble: Door::Opening,
            said: Choice::Off,
        }
    }
}

impl Keeper {
    /// Looks at the listener and starts one if it is due. `known`: all databases.
    pub fn round(&mut self, known: &[Known]) {
        self.notice_end();
        let front_door = settings::front_door();
        let mut choice =
            choose(front_door.listen.as_deref(), front_door.database.as_deref(), known);
        if self.listener.is_none() {
            choice = choice.or_go_on_with(self.served, known);
        }
        self.say(&choice);
        let now = Instant::now();
        if let Choice::Serve(database) = choice
            && self.listener.is_none()
            && self.restarts.is_due(now)
            && !is_held(database)
        {
            if is_listening() {
                // The one that a launcher before this one started.
                self.restarts.put_off(now);
            } else {
                self.start(database, now);
            }
        }
        if let Some(board) = board() {
            board.listening().note(self.door(&choice, board));
        }
    }

    fn door(&self, choice: &Choice, board: &Board) -> Door {
        match choice {
            Choice::Off => Door::Off,
            // Whether some database has the extension cannot be found out.
            Choice::NotYet if !board.without_process().is_empty() => Door::NoProcess,
            Choice::NotYet => Door::Opening,
            Choice::Serve(_) => self.trouble,
            Choice::Several => Door::SeveralDatabases,
            Choice::NotThere(_) => Door::WrongDatabase,
            Choice::Nowhere => Door::NoDatabase,
            Choice::Stopped => Door::Stopped,
        }
    }

    /// When it has to look again, if nothing happens.
    pub fn until_next(&self, now: Instant) -> Option<Duration> {
        let is_due = self.listener.is_none()
            && matches!(self.said, Choice::Serve(database) if !is_held(database));
        is_due.then(|| self.restarts.until_due(now))
    }

    fn notice_end(&mut self) {
        let ended = self.listener.as_ref().map(DynamicBackgroundWorker::pid);
        if !matches!(ended, Some(Err(BackgroundWorkerStatus::Stopped))) {
            return;
        }
        self.listener = None;
        if board().is_some_and(|board| board.listener().take_made_way()) {
            self.restarts.forgive(Instant::now());
            self.trouble = Door::Opening;
            return;
        }
        self.served = None;
        let soon = self.restarts.note_end(Instant::now());
        self.trouble = if soon { Door::Ends } else { Door::Opening };
    }

    fn start(&mut self, database: u32, now: Instant) {
        self.restarts.note_start(now);
        match worker_of(database, "whaply listener", "whaply_listener").load_dynamic() {
            Ok(listener) => {
                self.listener = Some(listener);
                self.served = Some(database);
                if self.trouble == Door::NoProcess {
                    self.trouble = Door::Opening;
                }
            }
            Err(_) => {
                warning!(
                    "whaply: no background worker slot is free for the listener: raise max_worker_processes"
                );
                self.restarts.put_off(now);
                self.trouble = Door::NoProcess;
            }
        }
    }

    /// One line for each change. While one listens, more databases do not matter until it ends.
    fn say(&mut self, choice: &Choice) {
        if *choice == self.said || *choice == Choice::NotYet {
            return;
        }
        self.said = choice.clone();
        match choice {
            Choice::Several if self.listener.is_some() || is_listening() => warning!(
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
                self.restarts.forgive(Instant::now());
                self.trouble = Door::Opening;
            }
        }
    }
}

/// Whether a command needs the database for itself: the launcher is told when it has ended.
fn is_held(database: u32) -> bool {
    board().is_some_and(|board| board.holds().is_held(database))
}

/// Whether there is a listener, whoever started it.
fn is_listening() -> bool {
    board().is_some_and(|board| board.listener().pid() != 0)
}
