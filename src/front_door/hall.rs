//! What the threads of the listener and its main thread share. Everything here may be touched by any
//! thread, and nothing of it is PostgreSQL's.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::address::TrustedProxies;
use super::connections::Connections;
use super::limits::RefusedPosts;
use super::metrics::Metrics;
use super::queue::Queue;
use super::reading::ReadingRoom;
use super::standing::Standing;
use crate::exchange::Secret;
use crate::settings::FrontDoorLimits;

/// Memory for bodies beyond [`SMALL_BODY`], in KiB: known posters have it for themselves, and
/// strangers share another.
const LARGE_BODIES_KIB: usize = 256 * 1_024;

/// Every connection may have a body of this size in memory.
pub const SMALL_BODY: usize = 64 * 1_024;

/// The settings as the threads go by them.
#[derive(Clone, Debug)]
pub struct Rules {
    pub limits: FrontDoorLimits,
    pub trusted: TrustedProxies,
    pub metrics_token: Option<Secret>,
}

pub struct Hall {
    pub queue: Queue,
    pub standing: Standing,
    pub connections: Arc<Connections>,
    pub metrics: Metrics,
    pub known_bodies: Arc<Semaphore>,
    pub strangers_bodies: Arc<Semaphore>,
    pub reading_room: ReadingRoom,
    refused: Mutex<RefusedPosts>,
    rules: RwLock<Arc<Rules>>,
    began: Instant,
}

impl Hall {
    /// Errors: the system has no file descriptor left.
    pub fn new(rules: Rules) -> std::io::Result<Self> {
        Ok(Self {
            queue: Queue::new()?,
            standing: Standing::default(),
            connections: Arc::default(),
            metrics: Metrics::default(),
            known_bodies: Arc::new(Semaphore::new(LARGE_BODIES_KIB)),
            strangers_bodies: Arc::new(Semaphore::new(LARGE_BODIES_KIB)),
            reading_room: ReadingRoom::default(),
            refused: Mutex::default(),
            rules: RwLock::new(Arc::new(rules)),
            began: Instant::now(),
        })
    }

    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// A post of this address was refused.
    pub fn note_refused(&self, address: IpAddr) {
        self.lock_refused().note(address, self.began.elapsed());
    }

    pub fn was_refused_too_often(&self, address: IpAddr, most: u32) -> bool {
        self.lock_refused().are_too_many(address, most, self.began.elapsed())
    }

    fn lock_refused(&self) -> std::sync::MutexGuard<'_, RefusedPosts> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    /// Whether a request's Bearer is the token for the metrics.
    pub fn is_metrics_token(&self, bearer: Option<&str>) -> bool {
        match (&self.metrics_token, bearer) {
            (Some(token), Some(bearer)) => {
                token.expose().as_bytes().ct_eq(bearer.as_bytes()).into()
            }
            _ => false,
        }
    }
}
