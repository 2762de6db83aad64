//! The HTTP listener inside PostgreSQL: Evolution posts its webhooks straight to it. Threads of its
//! own speak HTTP and never touch PostgreSQL; the main thread of its process stores what has arrived,
//! one transaction a batch, and what was answered with 200 is on disk.
//!
//! The way of a post: `routes`, `requests`, `body` on a thread; `queue`; `batches` on the main thread;
//! `answers` on the thread again. `keeper` and `choice` are the launcher's part.

mod address;
mod answers;
mod batches;
mod body;
mod checks;
mod choice;
mod connections;
mod families;
mod figures;
mod hall;
mod health;
mod http;
mod keeper;
mod limits;
mod metrics;
mod posters;
mod process;
mod queue;
mod reading;
mod requests;
mod routes;
mod standing;
mod state;
mod statuses;
mod stopping;

pub use choice::{Known, State};
pub use keeper::Keeper;
pub use state::{Listening, Noted, listening};
