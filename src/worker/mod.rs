//! The background workers: a launcher, and in each database with the extension one reply worker
//! that claims, calls models and Evolution on threads, and records. Only the main thread of a
//! worker touches PostgreSQL; no transaction is ever open across a call.

mod board;
mod chat_lock;
mod claim;
mod claims;
mod cooldowns;
mod due;
mod guarded;
mod jobs;
mod keys;
mod launcher;
mod line;
mod lookup;
mod modes;
mod pool;
mod process;
mod record;
mod register;
mod rounds;
mod send;
mod terms;
mod unverified;
mod wake;

pub use register::{
    at_preload, extension_created, is_preloaded, start, status, stop, wait_at_most,
};
pub use wake::{wake_at_commit, wake_launcher_at_commit};
