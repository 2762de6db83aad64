//! The background workers: a launcher, and in each database with the extension one reply worker
//! that claims, calls models and Evolution on threads, and records. Only the main thread of a
//! worker touches PostgreSQL; no transaction is ever open across a call.
//!
//! The processes: `launcher`, `process`, `register`, `board`, `holds`. A round (`rounds`): what has come back
//! is written by `results`, as `answers`, `sent`, `lookup`, `line` and `instances` have it; what is `due` is
//! begun by `claim`, `send`, `lookup`, `line` and `instances`; their `jobs` go to the threads of `pool`.

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
mod set_aside;
mod sources;
mod standing;
mod terms;
mod told;
mod unverified;
mod wake;

pub use keys::parse_url;
pub use making_way::make_way;
pub use register::{
    at_preload, extension_created, is_preloaded, listening, start, status, stop, wait_at_most,
};
pub use wake::{wake_at_commit, wake_at_commit_for, wake_launcher_at_commit};
