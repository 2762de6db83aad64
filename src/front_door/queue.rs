//! Webhooks between the threads that read them and the main thread that stores them: bounded, and
//! shared so that no tenant and no stranger can fill it. It never waits.

use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};
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

/// Who posted, and where the answer goes.
pub struct Ticket {
    pub presented: Presented,
    /// Of the credentials; see [`super::standing`].
    pub fingerprint: u64,
    /// Whether such credentials of this tenant were right of late.
    pub is_known: bool,
    pub bytes: usize,
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

/// Who holds how much of the queue. Pure.
#[derive(Debug, Default)]
struct Shares {
    all: Share,
    strangers: Share,
    tenants: HashMap<String, Share>,
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
    fn admit(&mut self, tenant: Option<&str>, bytes: usize) -> bool {
        if !self.all.has_room(bytes, MOST_POSTS, MOST_BYTES) {
            return false;
        }
        let share = match tenant {
            Some(tenant) => self.tenants.entry(tenant.to_owned()).or_default(),
            None => &mut self.strangers,
        };
        if !share.has_room(bytes, MOST_OF_ONE, MOST_BYTES_OF_ONE) {
            return false;
        }
        share.add(bytes);
        self.all.add(bytes);
        true
    }

    fn release(&mut self, tenant: Option<&str>, bytes: usize) {
        self.all.remove(bytes);
        match tenant {
            None => self.strangers.remove(bytes),
            Some(tenant) => {
                let Some(share) = self.tenants.get_mut(tenant) else { return };
                share.remove(bytes);
                if share.posts == 0 {
                    self.tenants.remove(tenant);
                }
            }
        }
    }
}

#[derive(Default)]
struct Waiting {
    posts: VecDeque<Post>,
    shares: Shares,
    questions: Vec<Question>,
    turned_away: Vec<TurnedAway>,
    is_closed: bool,
}

pub struct Queue {
    waiting: Mutex<Waiting>,
    wake_up: WakeUp,
}

impl Queue {
    /// Errors: the system has no file descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { waiting: Mutex::default(), wake_up: WakeUp::new()? })
    }

    /// What the main thread waits on: readable when something is there.
    pub fn fd(&self) -> RawFd {
        self.wake_up.fd()
    }

    /// The post waits for the main thread, unless there is no room for it.
    pub fn offer(&self, post: Post) -> Result<(), Refusal> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(Refusal::unavailable("the listener is stopping"));
        }
        if !waiting.shares.admit(share_of(&post), post.ticket.bytes) {
            return Err(Refusal::unavailable("too many webhooks are waiting"));
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
            bytes += post.ticket.bytes;
            waiting.shares.release(share_of(&post), post.ticket.bytes);
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn share_of(post: &Post) -> Option<&str> {
    post.ticket.is_known.then_some(post.payload.envelope.instance.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_tenant_nor_all_strangers_can_fill_the_queue() {
        let mut shares = Shares::default();
        for who in [Some("busy"), None] {
            assert_eq!((0..MOST_POSTS).filter(|_| shares.admit(who, 10)).count(), MOST_OF_ONE);
        }
        assert!(shares.admit(Some("other"), 10));
    }

    #[test]
    fn large_posts_fill_a_share_sooner_but_one_always_fits() {
        let mut shares = Shares::default();
        assert!(shares.admit(Some("large"), MOST_BYTES_OF_ONE * 2));
        assert!(!shares.admit(Some("large"), 1));
        assert!(shares.admit(Some("other"), 1));
    }

    #[test]
    fn what_was_taken_makes_room_and_leaves_nothing_behind() {
        let mut shares = Shares::default();
        for who in [Some("a"), None] {
            assert!(shares.admit(who, MOST_BYTES_OF_ONE));
            assert!(!shares.admit(who, 1));
            shares.release(who, MOST_BYTES_OF_ONE);
            assert!(shares.admit(who, 1));
            shares.release(who, 1);
        }
        assert!(shares.tenants.is_empty());
        assert_eq!(shares.all.posts, 0);
    }
}
