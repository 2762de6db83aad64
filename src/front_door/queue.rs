//! Webhooks between the threads that read them and the main thread that stores them: bounded, and
//! shared so that no tenant and no stranger can fill it. It never waits.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::figures::Figures;
use super::health::Health;
use super::statuses::Refusal;
use crate::credentials::Presented;
use crate::intake::Outcome;
use crate::process::WakeUp;
use crate::webhook::Payload;

/// Events that wait at most. A tenant may have a quarter of it, and so may all posts together whose
/// credentials were not seen of late: whoever they say they are.
const MOST_POSTS: usize = 4_096;
const MOST_OF_ONE: usize = MOST_POSTS / 4;

/// A post that waits holds a connection: of all of them a tenant's posts may hold a quarter, and
/// strangers' half, so that others still find a place.
const PART_OF_A_TENANT: usize = 4;
const PART_OF_STRANGERS: usize = 2;

/// Bytes that wait at most, shared in the same way.
const MOST_BYTES: usize = 256 * 1_024 * 1_024;
const MOST_BYTES_OF_ONE: usize = MOST_BYTES / 4;

/// What came of a post.
pub type Answer = Result<Outcome, Refusal>;

/// One webhook that was read, on its way into the database.
pub struct Post {
    pub payload: Payload,
    pub ticket: Ticket,
}

/// Room for one post until it is answered. Dropping it makes room for another.
pub struct Place {
    shares: Arc<Mutex<Shares>>,
    /// None: a stranger.
    tenant: Option<u64>,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.shares).release(self.tenant, self.bytes);
    }
}

/// Who posted, and where the answer goes.
pub struct Ticket {
    pub presented: Presented,
    /// Of the credentials; see [`super::standing`].
    pub fingerprint: u64,
    /// Whether such credentials of this tenant were right of late.
    pub is_known: bool,
    pub place: Place,
    pub arrived_at: Instant,
    pub answer: oneshot::Sender<Answer>,
}

/// What a thread wants to know of the database.
pub enum Question {
    Health(oneshot::Sender<Health>),
    Figures(oneshot::Sender<Figures>),
}

/// A post that was refused without the database, which shall count it all the same.
pub struct TurnedAway {
    pub instance: Option<String>,
    pub presented: Presented,
    pub is_too_large: bool,
}

/// Refused posts that wait to be counted at most; the others count for nobody.
const MOST_TURNED_AWAY: usize = 1_000;

/// Who holds how much: of what waits, and of what is being stored. Pure.
#[derive(Debug, Default)]
struct Shares {
    all: Share,
    strangers: Share,
    /// By the hash of the instance.
    tenants: HashMap<u64, Share>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    posts: usize,
    bytes: usize,
}

impl Share {
    fn has_room(self, bytes: usize, most_posts: usize, most_bytes: usize) -> bool {
        // One post always fits, however large.
        self.posts < most_posts && (self.posts == 0 || self.bytes + bytes <= most_bytes)
    }

    fn add(&mut self, bytes: usize) {
        self.posts += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.posts = self.posts.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Shares {
    /// `tenant` None: a stranger.
    fn admit(&mut self, tenant: Option<u64>, bytes: usize, max_clients: usize) -> bool {
        if !self.all.has_room(bytes, MOST_POSTS, MOST_BYTES) {
            return false;
        }
        let share = match tenant {
            Some(tenant) => self.tenants.entry(tenant).or_default(),
            None => &mut self.strangers,
        };
        let part = if tenant.is_some() { PART_OF_A_TENANT } else { PART_OF_STRANGERS };
        let most = MOST_OF_ONE.min(max_clients.div_ceil(part));
        if !share.has_room(bytes, most, MOST_BYTES_OF_ONE) {
            return false;
        }
        share.add(bytes);
        self.all.add(bytes);
        true
    }

    fn release(&mut self, tenant: Option<u64>, bytes: usize) {
        self.all.remove(bytes);
        match tenant {
            None => self.strangers.remove(bytes),
            Some(tenant) => {
                let Some(share) = self.tenants.get_mut(&tenant) else { return };
                share.remove(bytes);
                if share.posts == 0 {
                    self.tenants.remove(&tenant);
                }
            }
        }
    }
}

#[derive(Default)]
struct Waiting {
    posts: VecDeque<Post>,
    questions: Vec<Question>,
    turned_away: Vec<TurnedAway>,
    is_closed: bool,
}

pub struct Queue {
    waiting: Mutex<Waiting>,
    shares: Arc<Mutex<Shares>>,
    /// Of this process only, so that nobody can make up a collision.
    hasher: RandomState,
    wake_up: WakeUp,
}

impl Queue {
    /// Errors: the system has no file descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            waiting: Mutex::default(),
            shares: Arc::default(),
            hasher: RandomState::new(),
            wake_up: WakeUp::new()?,
        })
    }

    /// What the main thread waits on: readable when something is there.
    pub fn fd(&self) -> RawFd {
        self.wake_up.fd()
    }

    /// Room for a post of `bytes`, if there is any among those of so many connections. `tenant` None:
    /// of a stranger.
    pub fn place(&self, tenant: Option<&str>, bytes: usize, max_clients: usize) -> Option<Place> {
        let tenant = tenant.map(|instance| self.hasher.hash_one(instance));
        let is_admitted = lock(&self.shares).admit(tenant, bytes, max_clients);
        is_admitted.then(|| Place { shares: Arc::clone(&self.shares), tenant, bytes })
    }

    /// The post waits for the main thread.
    pub fn offer(&self, post: Post) -> Result<(), Refusal> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(Refusal::unavailable("the listener is stopping"));
        }
        let was_empty = waiting.posts.is_empty();
        waiting.posts.push_back(post);
        drop(waiting);
        if was_empty {
            self.wake_up.ring();
        }
        Ok(())
    }

    pub fn ask(&self, question: Question) {
        self.lock().questions.push(question);
        self.wake_up.ring();
    }

    pub fn tell(&self, turned_away: TurnedAway) {
        let mut waiting = self.lock();
        if waiting.turned_away.len() >= MOST_TURNED_AWAY {
            return;
        }
        waiting.turned_away.push(turned_away);
        drop(waiting);
        self.wake_up.ring();
    }

    /// What has arrived, in its order, up to so many events and about so many bytes.
    pub fn take(&self, most_posts: usize, most_bytes: usize) -> Vec<Post> {
        self.wake_up.quiet();
        let mut waiting = self.lock();
        let mut taken = Vec::with_capacity(waiting.posts.len().min(most_posts));
        let mut bytes = 0;
        while taken.len() < most_posts && bytes < most_bytes {
            let Some(post) = waiting.posts.pop_front() else { break };
            bytes += post.ticket.place.bytes;
            taken.push(post);
        }
        taken
    }

    pub fn questions(&self) -> Vec<Question> {
        std::mem::take(&mut self.lock().questions)
    }

    pub fn turned_away(&self) -> Vec<TurnedAway> {
        std::mem::take(&mut self.lock().turned_away)
    }

    pub fn length(&self) -> usize {
        self.lock().posts.len()
    }

    /// Nothing is taken any more; what waits still does.
    pub fn close(&self) {
        self.lock().is_closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 100_000;

    #[test]
    fn neither_a_tenant_nor_all_strangers_can_fill_the_queue() {
        let mut shares = Shares::default();
        for who in [Some(1), None] {
            assert_eq!(
                (0..MOST_POSTS).filter(|_| shares.admit(who, 10, MANY)).count(),
                MOST_OF_ONE
            );
        }
        assert!(shares.admit(Some(3), 10, MANY));
    }

    #[test]
    fn posts_that_wait_leave_connections_to_others() {
        let mut shares = Shares::default();
        for (who, most) in [(Some(1), 10), (Some(2), 10), (None, 20)] {
            assert_eq!((0..40).filter(|_| shares.admit(who, 10, 40)).count(), most);
        }
        assert!(shares.admit(Some(3), 10, 1), "one always fits");
    }

    #[test]
    fn large_posts_fill_a_share_sooner_but_one_always_fits() {
        let mut shares = Shares::default();
        assert!(shares.admit(Some(4), MOST_BYTES_OF_ONE * 2, MANY));
        assert!(!shares.admit(Some(4), 1, MANY));
        assert!(shares.admit(Some(3), 1, MANY));
    }

    #[test]
    fn what_was_taken_makes_room_and_leaves_nothing_behind() {
        let mut shares = Shares::default();
        for who in [Some(5), None] {
            assert!(shares.admit(who, MOST_BYTES_OF_ONE, MANY));
            assert!(!shares.admit(who, 1, MANY));
            shares.release(who, MOST_BYTES_OF_ONE);
            assert!(shares.admit(who, 1, MANY));
            shares.release(who, 1);
        }
        assert!(shares.tenants.is_empty());
        assert_eq!(shares.all.posts, 0);
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let queue = Queue::new().unwrap();
        let place = queue.place(Some("busy"), 1, 4);
        assert!(place.is_some());
        assert!(queue.place(Some("busy"), 1, 4).is_none());
        drop(place);
        assert!(queue.place(Some("busy"), 1, 4).is_some());
    }
}
