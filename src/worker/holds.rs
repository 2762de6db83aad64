//! The databases that a command needs for itself, and which session runs it: no process of whaply may be
//! connected to them until that session lets go. Only atomics, as all that processes share.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// So many such commands at once are enough; one more gets PostgreSQL's own error.
const MOST_HOLDS: usize = 64;

#[derive(Default)]
struct Hold {
    /// The process id of the session. 0: free.
    holder: AtomicI32,
    /// 0: not known yet, or no more.
    database: AtomicU32,
}

/// Sequentially consistent throughout: a process that arrives notes that before it looks for holds, and a
/// session notes its hold before it looks for processes. One of them sees the other.
pub struct Holds([Hold; MOST_HOLDS]);

impl Default for Holds {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Hold::default()))
    }
}

impl Holds {
    /// Whether there was a place for it left.
    pub fn hold(&self, database: u32, session: i32) -> bool {
        let take = |hold: &&Hold| {
            hold.holder.compare_exchange(0, session, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let taken = self.0.iter().find(take);
        if let Some(hold) = taken {
            hold.database.store(database, Ordering::SeqCst);
        }
        taken.is_some()
    }

    pub fn is_held(&self, database: u32) -> bool {
        self.0.iter().any(|hold| hold.database.load(Ordering::SeqCst) == database)
    }

    /// Lets go of everything that a session holds.
    pub fn release(&self, session: i32) {
        for hold in &self.0 {
            if hold.holder.load(Ordering::SeqCst) == session {
                hold.database.store(0, Ordering::SeqCst);
                hold.holder.store(0, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_held_until_every_session_that_holds_it_lets_go() {
        let holds = Holds::default();
        assert!(!holds.is_held(5));
        assert!(holds.hold(5, 100) && holds.hold(5, 200) && holds.hold(6, 100));
        holds.release(100);
        assert!(holds.is_held(5) && !holds.is_held(6));
        holds.release(200);
        assert!(!holds.is_held(5));
    }

    #[test]
    fn one_command_too_many_finds_no_place_until_another_ends() {
        let holds = Holds::default();
        let sessions = 1..=i32::try_from(MOST_HOLDS).unwrap();
        assert!(sessions.clone().all(|session| holds.hold(5, session)));
        assert!(!holds.hold(6, 1000) && !holds.is_held(6));
        holds.release(1);
        assert!(holds.hold(6, 1000) && holds.is_held(6));
    }
}
