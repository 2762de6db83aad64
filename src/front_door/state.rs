//! Whether there is a listener and, if there is none, why: noted in shared memory by the launcher and by
//! the listener itself, read by `whaply.health`. Only atomics, as on the whole board.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// What the launcher knows of the listener. Its text is what `server_status()` gives as the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Door {
    /// It is not known yet, or will be open in a moment.
    Opening = 0,
    Off = 1,
    SeveralDatabases = 2,
    /// `whaply.database` names one that is not there or has no extension.
    WrongDatabase = 3,
    NoDatabase = 4,
    Stopped = 5,
    /// No background worker slot is free, for it or to look into a database that may need it.
    NoProcess = 6,
    /// The process ended soon after its start.
    Ends = 7,
}

impl Door {
    fn from_u32(value: u32) -> Self {
        match value {
            1 => Self::Off,
            2 => Self::SeveralDatabases,
            3 => Self::WrongDatabase,
            4 => Self::NoDatabase,
            5 => Self::Stopped,
            6 => Self::NoProcess,
            7 => Self::Ends,
            _ => Self::Opening,
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Opening | Self::Off => None,
            Self::SeveralDatabases => Some("several_databases"),
            Self::WrongDatabase => Some("wrong_database"),
            Self::NoDatabase => Some("no_database"),
            Self::Stopped => Some("stopped"),
            Self::NoProcess => Some("no_process"),
            Self::Ends => Some("ends"),
        }
    }
}

/// In the listener's place of [`Noted::trouble`]: no number of the system says what went wrong.
const UNNUMBERED: i32 = -1;

/// The listener's and the launcher's place in shared memory.
#[derive(Default)]
pub struct Noted {
    door: AtomicU32,
    is_open: AtomicBool,
    /// Why the listener cannot listen: the system's error number. 0: nothing is known to be wrong.
    trouble: AtomicI32,
}

impl Noted {
    /// By the launcher.
    pub fn note(&self, door: Door) {
        self.door.store(door as u32, Ordering::Release);
    }

    /// By the listener: it listens.
    pub fn note_open(&self) {
        self.trouble.store(0, Ordering::Release);
        self.is_open.store(true, Ordering::Release);
    }

    /// By the listener: it cannot.
    pub fn note_trouble(&self, error: &io::Error) {
        self.is_open.store(false, Ordering::Release);
        self.trouble.store(error.raw_os_error().unwrap_or(UNNUMBERED), Ordering::Release);
    }

    /// By the listener, when it begins and when it ends.
    pub fn note_nothing(&self) {
        self.is_open.store(false, Ordering::Release);
        self.trouble.store(0, Ordering::Release);
    }
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// `whaply.listen` is empty.
    Off,
    /// It will be known in a moment.
    Starting,
    Open,
    Down {
        reason: &'static str,
        error: Option<String>,
    },
}

impl Listening {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Open => "open",
            Self::Down { .. } => "down",
        }
    }

    fn down(reason: &'static str) -> Self {
        Self::Down { reason, error: None }
    }
}

/// `noted`: None without preload. `has_process`: whether there is a listener, open or not.
pub fn listening(
    is_wanted: bool,
    is_standby: bool,
    noted: Option<&Noted>,
    has_process: bool,
) -> Listening {
    if !is_wanted {
        return Listening::Off;
    }
    if is_standby {
        return Listening::down("standby");
    }
    let Some(noted) = noted else { return Listening::down("not_preloaded") };
    if !has_process {
        let door = Door::from_u32(noted.door.load(Ordering::Acquire));
        return door.reason().map_or(Listening::Starting, Listening::down);
    }
    match noted.trouble.load(Ordering::Acquire) {
        0 if noted.is_open.load(Ordering::Acquire) => Listening::Open,
        0 => Listening::Starting,
        UNNUMBERED => Listening::down("cannot_listen"),
        number => Listening::Down {
            reason: "cannot_listen",
            error: Some(io::Error::from_raw_os_error(number).to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_where_somebody_wants_a_listener_and_there_is_none() {
        let noted = Noted::default();
        assert_eq!(listening(false, true, None, false), Listening::Off);
        assert_eq!(listening(true, true, None, false), Listening::down("standby"));
        assert_eq!(listening(true, false, None, false), Listening::down("not_preloaded"));
        assert_eq!(listening(true, false, Some(&noted), false), Listening::Starting);
        for door in (0..8).map(Door::from_u32) {
            noted.note(door);
            let told = listening(true, false, Some(&noted), false);
            assert_eq!(
                told,
                door.reason().map_or(Listening::Starting, Listening::down),
                "{door:?}"
            );
            assert_eq!(Door::from_u32(door as u32), door);
        }
    }

    #[test]
    fn a_listener_that_is_there_speaks_for_itself() {
        let noted = Noted::default();
        noted.note(Door::Ends);
        let told = || listening(true, false, Some(&noted), true);
        assert_eq!(told(), Listening::Starting);
        noted.note_open();
        assert_eq!(told(), Listening::Open);
        noted.note_trouble(&io::Error::from_raw_os_error(libc::EADDRINUSE));
        let Listening::Down { reason: "cannot_listen", error: Some(error) } = told() else {
            panic!("{:?}", told());
        };
        assert!(error.contains("in use"), "{error}");
        noted.note_trouble(&io::Error::other("no such name"));
        assert_eq!(told(), Listening::down("cannot_listen"));
        noted.note_nothing();
        assert_eq!(told(), Listening::Starting);
    }
}
