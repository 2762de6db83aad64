//! One pair of eyes on the database for all players: it looks many times a second who has open work,
//! and whether any chat ever speaks with two voices.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::Client;
use support::Database;

/// Often enough that no player waits for it to be felt, rare enough to cost next to nothing.
const INTERVAL: Duration = Duration::from_millis(15);

/// Replies that are open, deliveries without an end, messages whose author is not decided.
const OPEN_WORK: &str = "
    SELECT DISTINCT tenant_id FROM (
        SELECT tenant_id FROM whaply.replies WHERE state IN ('waiting', 'generating', 'sending')
         UNION ALL
        SELECT tenant_id FROM whaply.deliveries WHERE state IN ('pending', 'sending', 'uncertain')
         UNION ALL
        SELECT tenant_id FROM whaply.processed_events WHERE action_taken = 'pending_echo') AS open";

/// Chats with two replies under whatever name that are yet to be written, or two messages in flight.
/// (Two chats that are found to be one may each be sending at that moment, and finish what they began.)
const TWO_VOICES: &str = "
    SELECT r.tenant_id, coalesce(a.chat_id, r.chat_id)::text, 'replies to be written', count(*)
      FROM whaply.replies r
      LEFT JOIN whaply.chat_aliases a ON a.tenant_id = r.tenant_id AND a.jid = r.chat_id
     WHERE r.state IN ('waiting', 'generating')
     GROUP BY 1, 2 HAVING count(*) > 1
     UNION ALL
    SELECT d.tenant_id, d.chat_id::text, 'messages in flight', count(*)
      FROM whaply.deliveries d WHERE d.state IN ('sending', 'uncertain')
     GROUP BY 1, 2 HAVING count(*) > 1";

#[derive(Default)]
struct Seen {
    looks: u64,
    busy: HashSet<i32>,
    /// By tenant: a chat that had two voices, and of what.
    two_voices: BTreeMap<i32, (String, String)>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    looked: Condvar,
    is_over: AtomicBool,
}

pub struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub fn start(db: &Database) -> Self {
        let shared = Arc::new(Shared::default());
        let (watched, mut client) = (Arc::clone(&shared), db.connect());
        let thread = thread::spawn(move || {
            while !watched.is_over.load(Ordering::Relaxed) {
                if !watched.look(&mut client) {
                    break;
                }
                thread::park_timeout(INTERVAL);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// The tenants with open work, in a look that begins after this call.
    #[track_caller]
    pub fn look(&self) -> HashSet<i32> {
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The look that is under way may have begun before.
        let wanted = seen.looks + 2;
        while seen.looks < wanted {
            let (guard, waited) = self
                .shared
                .looked
                .wait_timeout(seen, super::stage::PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            assert!(!waited.timed_out(), "the watcher has gone blind");
            seen = guard;
        }
        seen.busy.clone()
    }

    /// A chat of this tenant that had two voices, and what was seen of them.
    pub fn two_voices(&self, tenant_id: i32) -> Option<(String, String)> {
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.two_voices.get(&tenant_id).cloned()
    }
}

impl Shared {
    /// False if the database cannot be asked any more.
    fn look(&self, client: &mut Client) -> bool {
        let (Ok(busy), Ok(double)) = (client.query(OPEN_WORK, &[]), client.query(TWO_VOICES, &[]))
        else {
            return false;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.looks += 1;
        seen.busy = busy.iter().map(|row| row.get(0)).collect();
        for row in double {
            let (chat, what, count): (String, String, i64) = (row.get(1), row.get(2), row.get(3));
            seen.two_voices.entry(row.get(0)).or_insert((chat, format!("{count} {what}")));
        }
        self.looked.notify_all();
        true
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
