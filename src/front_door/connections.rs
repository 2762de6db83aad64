//! The connections that are open, and how far each is: who is too slow is cut off, and who is idle
//! makes room. It reads no byte of any.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::settings::FrontDoorLimits;

/// How long a connection may be without a request. Longer than reverse proxies keep theirs (nginx:
/// 60 s): it is they who close them, and no request meets a closing door.
const IDLE_LIMIT: Duration = Duration::from_secs(75);

/// How far a connection is with its present request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Between two requests.
    Idle = 0,
    /// Some of a request has come, but not all its headers. A new connection begins here.
    Head = 1,
    /// A body is coming, of somebody who is not known.
    StrangersBody = 2,
    /// A body is coming, with credentials that were right of late.
    KnownBody = 3,
    /// The request is here; the answer is not.
    Working = 4,
    /// Somebody asks how the server is, and waits for it not long.
    Asking = 5,
}

impl Stage {
    fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Self::Idle,
            1 => Self::Head,
            2 => Self::StrangersBody,
            3 => Self::KnownBody,
            4 => Self::Working,
            _ => Self::Asking,
        }
    }

    /// How long it may last; None: somebody else sees to that.
    fn limit(self, limits: &FrontDoorLimits) -> Option<Duration> {
        match self {
            Self::Idle => Some(IDLE_LIMIT),
            Self::Head => Some(limits.header_timeout),
            Self::StrangersBody | Self::KnownBody => Some(limits.body_timeout),
            Self::Working | Self::Asking => None,
        }
    }

    /// Whether such a connection may be closed for a new one.
    fn may_make_room(self) -> bool {
        matches!(self, Self::Idle | Self::Head | Self::StrangersBody | Self::Asking)
    }
}

/// One connection, as its task and the others see it.
pub struct Connection {
    id: u64,
    /// The stage in the lowest three bits, above them milliseconds since the listener began.
    state: AtomicU64,
    /// The fingerprint of the credentials that its present body came with, if they are known.
    whose: AtomicU64,
    began: Instant,
    cut: Notify,
}

impl Connection {
    /// A body is coming, of `known` if these are credentials that were right of late.
    pub fn enter_body(&self, known: Option<u64>) {
        self.whose.store(known.unwrap_or_default(), Ordering::Relaxed);
        self.enter(if known.is_some() { Stage::KnownBody } else { Stage::StrangersBody });
    }

    pub fn enter(&self, stage: Stage) {
        let millis = self.began.elapsed().as_millis() as u64;
        self.state.store(millis << 3 | stage as u64, Ordering::Relaxed);
    }

    /// Bytes have come.
    pub fn hears(&self) {
        if self.stage() == Stage::Idle {
            self.enter(Stage::Head);
        }
    }

    pub fn stage(&self) -> Stage {
        Stage::from_bits(self.state.load(Ordering::Relaxed) & 7)
    }

    fn since(&self) -> Duration {
        Duration::from_millis(self.state.load(Ordering::Relaxed) >> 3)
    }

    /// Returns when the connection is to be closed at once.
    pub async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

pub struct Connections {
    began: Instant,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { began: Instant::now(), next: AtomicU64::new(0), open: Mutex::default() }
    }
}

/// Leaves the list when it is dropped, however its task ends.
pub struct Place {
    pub connection: Arc<Connection>,
    all: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().remove(&self.connection.id);
    }
}

impl Connections {
    /// A place for a new connection; None: all are taken, and nobody may be sent away for it.
    pub fn admit(self: &Arc<Self>, most: usize) -> Option<Place> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection {
            id,
            state: AtomicU64::new(0),
            whose: AtomicU64::new(0),
            began: self.began,
            cut: Notify::new(),
        });
        connection.enter(Stage::Head);
        let mut open = self.lock();
        if open.len() >= most {
            let longest = longest_idle(&open).or_else(|| longest_of_the_greediest(&open))?;
            // Out of the list at once, so that the next newcomer finds another.
            if let Some(cut) = open.remove(&longest) {
                cut.cut.notify_one();
            }
        }
        open.insert(id, Arc::clone(&connection));
        drop(open);
        Some(Place { connection, all: Arc::clone(self) })
    }

    /// Cuts off who takes longer than allowed.
    pub fn cut_off_the_slow(&self, limits: &FrontDoorLimits) -> usize {
        let now = self.began.elapsed();
        let mut slow = 0;
        for connection in self.lock().values() {
            let limit = connection.stage().limit(limits);
            if limit.is_some_and(|limit| now.saturating_sub(connection.since()) > limit) {
                connection.cut.notify_one();
                slow += 1;
            }
        }
        slow
    }

    /// Closes all that wait for no answer.
    pub fn close_the_idle(&self) {
        for connection in self.lock().values() {
            if connection.stage() != Stage::Working {
                connection.cut.notify_one();
            }
        }
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn longest_idle(open: &HashMap<u64, Arc<Connection>>) -> Option<u64> {
    let idle = open.values().filter(|one| one.stage().may_make_room());
    idle.min_by_key(|one| (one.stage() != Stage::Idle, one.since())).map(|one| one.id)
}

/// Of the bodies that are coming of the one who sends most of them: nobody keeps others out by sending
/// many, and slowly. None: nobody sends several.
fn longest_of_the_greediest(open: &HashMap<u64, Arc<Connection>>) -> Option<u64> {
    let mut bodies: HashMap<u64, (usize, Duration, u64)> = HashMap::new();
    for one in open.values().filter(|one| one.stage() == Stage::KnownBody) {
        let (whose, since) = (one.whose.load(Ordering::Relaxed), one.since());
        let (count, longest, id) = bodies.entry(whose).or_insert((0, since, one.id));
        *count += 1;
        if since < *longest {
            (*longest, *id) = (since, one.id);
        }
    }
    let (count, _, id) = bodies.into_values().max_by_key(|(count, ..)| *count)?;
    (count > 1).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_takes_the_place_of_the_longest_idle_and_never_of_one_at_work() {
        let all = Arc::new(Connections::default());
        let places: Vec<Place> = (0..4).map(|_| all.admit(4).unwrap()).collect();
        for (place, stage) in
            places.iter().zip([Stage::Working, Stage::StrangersBody, Stage::Idle, Stage::KnownBody])
        {
            place.connection.enter(stage);
        }
        let ids = || all.lock().keys().copied().collect::<std::collections::BTreeSet<_>>();
        let newcomer = all.admit(4).unwrap();
        assert_eq!(ids(), [0, 1, 3, 4].into());
        newcomer.connection.enter(Stage::Working);
        let another = all.admit(4).unwrap();
        assert_eq!(ids(), [0, 3, 4, 5].into());
        another.connection.enter_body(Some(7));
        assert!(all.admit(4).is_none());
        drop(another);
        assert!(all.admit(4).is_some());
    }

    #[test]
    fn who_sends_many_bodies_at_once_makes_room_and_who_sends_one_does_not() {
        let all = Arc::new(Connections::default());
        let places: Vec<Place> = (0..4).map(|_| all.admit(4).unwrap()).collect();
        for (place, whose) in places.iter().zip([1, 2, 2, 2]) {
            place.connection.enter_body(Some(whose));
        }
        for whose in [3, 4] {
            let newcomer = all.admit(4).unwrap();
            newcomer.connection.enter_body(Some(whose));
            std::mem::forget(newcomer);
        }
        assert!(all.lock().contains_key(&0));
        assert!(all.admit(4).is_none(), "everybody has one");
    }

    #[test]
    fn bytes_end_the_rest_between_two_requests_only() {
        let all = Arc::new(Connections::default());
        let place = all.admit(1).unwrap();
        for (before, after) in [(Stage::Idle, Stage::Head), (Stage::KnownBody, Stage::KnownBody)] {
            place.connection.enter(before);
            place.connection.hears();
            assert_eq!(place.connection.stage(), after);
        }
    }
}
