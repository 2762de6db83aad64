//! The background workers: a launcher, and in each database with the extension one reply worker
//! that claims, calls models and Evolution on threads, and records. Only the main thread of a
//! worker touches PostgreSQL; no transaction is ever open across a call.

mod answers;
pub mod arrivals;
pub mod board;
mod chat_lock;
mod chores;
mod claim;
mod claims;
mod cooldowns;
mod counted;
mod due;
mod endings;
mod holds;
mod instances;
mod jobs;
mod keys;
mod launcher;
mod line;
mod lookup;
mod making_way;
mod modes;
mod outgoing;
mod places;
mod pool;
mod process;
mod refused;
mod register;
mod results;
mod retention;
mod rounds;
mod send;
mod sent;
mod standing;
mod terms;
mod told;
mod unverified;
mod wake;

use crate::process::guarded;

pub use keys::parse_url;
pub use making_way::make_way;
pub use pool::most_calls as most_open_files;
pub use register::{
    at_preload, extension_created, is_preloaded, listening, start, status, stop, wait_at_most,
};
pub use wake::{wake_at_commit, wake_at_commit_for, wake_launcher_at_commit};
