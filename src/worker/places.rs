//! Who may begin how many calls: a server that hangs, whoever's model or gateway it is, keeps only its
//! own tenants waiting. It counts and compares; it makes no call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use url::Url;

/// A tenant that was passed over is looked at again after this: it may have another server by then.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(5);

/// The part of the threads that models may not take: sends must never wait for a slow model.
const SENDS_KEEP_ONE_IN: usize = 4;

/// Scheme, host and port, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server(u64);

impl Server {
    pub fn of(url: &Url) -> Self {
        let mut hasher = DefaultHasher::new();
        (url.scheme(), url.host_str(), url.port_or_known_default()).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What a tenant calls a server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Model,
    Gateway,
}

/// How many calls one server may have at once: half of what the calls to all others leave. However many
/// servers hang, the next one finds some left; one alone may have half of all.
fn share_of_a_server(threads: usize, with_others: usize) -> usize {
    threads.saturating_sub(with_others).div_ceil(2)
}

/// How many threads calls to models may have.
pub fn share_of_models(threads: usize) -> usize {
    threads - (threads / SENDS_KEEP_ONE_IN).min(threads.saturating_sub(1))
}

/// The calls that are under way, and the tenants that wait for a place.
#[derive(Default)]
pub struct Places {
    threads: usize,
    held: RefCell<HashMap<Server, usize>>,
    /// Passed over, for which server and until when.
    waiting: RefCell<HashMap<(i32, Side), (Server, Instant)>>,
}

impl Places {
    pub fn new(threads: usize) -> Self {
        Self { threads, ..Self::default() }
    }

    /// At the begin of a round: what the threads are at work on.
    pub fn count(&self, held: &HashMap<Server, usize>) {
        self.held.borrow_mut().clone_from(held);
    }

    /// Takes a place for a call of this tenant; false if its server has its share, and the tenant waits.
    pub fn take(&self, side: Side, server: Server, tenant_id: i32) -> bool {
        if self.is_full(server) {
            let until = Instant::now() + LOOKED_AT_AGAIN;
            self.waiting.borrow_mut().insert((tenant_id, side), (server, until));
            return false;
        }
        *self.held.borrow_mut().entry(server).or_default() += 1;
        true
    }

    /// A place that was taken for a call that is not made.
    pub fn give_back(&self, server: Server) {
        if let Some(held) = self.held.borrow_mut().get_mut(&server) {
            *held = held.saturating_sub(1);
        }
    }

    /// The tenants that need not be looked at: their servers are full.
    pub fn waiting(&self, side: Side) -> Vec<i32> {
        let now = Instant::now();
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|_, (server, until)| *until > now && self.is_full(*server));
        waiting.keys().filter(|(_, of)| *of == side).map(|(tenant_id, _)| *tenant_id).collect()
    }

    /// When the next of them is looked at again.
    pub fn next_look(&self) -> Option<Instant> {
        self.waiting.borrow().values().map(|(_, until)| *until).min()
    }

    fn is_full(&self, server: Server) -> bool {
        let held = self.held.borrow();
        let of_server = held.get(&server).copied().unwrap_or_default();
        let of_all: usize = held.values().sum();
        of_server >= share_of_a_server(self.threads, of_all - of_server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::of(&Url::parse(url).unwrap())
    }

    /// Takes places until there are no more; how many there were.
    fn take_all(places: &Places, server: Server) -> usize {
        (0..).take_while(|_| places.take(Side::Model, server, 1)).count()
    }

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        assert_eq!(server("https://a.example/v1"), server("https://a.example:443/other"));
        assert_ne!(server("https://a.example"), server("http://a.example"));
        assert_ne!(server("http://a.example:8080"), server("http://a.example:8081"));
        assert_ne!(server("https://a.example"), server("https://b.example"));
    }

    #[test]
    fn one_server_has_half_of_what_the_others_leave_and_one_at_least() {
        assert_eq!(share_of_a_server(2_000, 0), 1_000);
        assert_eq!(share_of_a_server(2_000, 1_000), 500);
        assert_eq!(share_of_a_server(1, 0), 1);
        assert_eq!(share_of_a_server(8, 7), 1);
        assert_eq!(share_of_a_server(8, 8), 0);
    }

    #[test]
    fn models_leave_a_quarter_to_sends_but_have_one_thread_at_least() {
        assert_eq!((share_of_models(2_000), share_of_models(8)), (1_500, 6));
        assert_eq!((share_of_models(4), share_of_models(3), share_of_models(1)), (3, 3, 1));
    }

    #[test]
    fn servers_that_hang_leave_places_for_the_next() {
        let places = Places::new(64);
        let hanging = ["http://a.example", "http://b.example", "http://c.example"].map(server);
        assert_eq!(hanging.map(|server| take_all(&places, server)), [32, 16, 8]);
        assert!(places.take(Side::Model, server("http://healthy.example"), 2));
        assert_eq!(places.waiting(Side::Model), [1]);
        assert!(places.waiting(Side::Gateway).is_empty());
        assert!(places.next_look().is_some());
    }

    #[test]
    fn a_tenant_waits_no_longer_when_a_call_to_its_server_ends() {
        let places = Places::new(4);
        let slow = server("http://a.example");
        assert_eq!(take_all(&places, slow), 2);
        places.count(&HashMap::from([(slow, 1)]));
        assert!(places.waiting(Side::Model).is_empty());
        assert!(places.take(Side::Model, slow, 1));
    }

    #[test]
    fn a_place_that_is_given_back_is_there_for_the_next_call() {
        let places = Places::new(4);
        let server = server("http://a.example");
        assert_eq!(take_all(&places, server), 2);
        places.give_back(server);
        assert_eq!(take_all(&places, server), 1);
    }
}
