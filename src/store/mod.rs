//! Every SQL statement of whaply, a file per table or per question to one: the only place that touches SPI.
//! Nothing here decides; callers hold the session's lock where a function says so.
//!
//! Locks are always taken in this order: tenants, chat_aliases, sessions, messages, processed_events,
//! replies, deliveries, connect_requests, findings. The row of the session is the lock of its chat: the
//! state of a reply or delivery only changes under it.

pub mod access;
pub mod acting_role;
pub mod answers;
pub mod arrivals;
pub mod chat_aliases;
pub mod connect_requests;
pub mod customers;
pub mod deliveries;
pub mod elsewhere;
pub mod extension;
pub mod figures;
pub mod findings;
pub mod forgotten;
pub mod greetings;
mod jsonb;
pub mod keys;
pub mod late_echoes;
pub mod many_deliveries;
pub mod many_replies;
pub mod messages;
pub mod messages_archive;
pub mod new_messages;
mod plans;
pub mod processed_events;
pub mod questions;
#[cfg(any(test, feature = "pg_test"))]
mod raw_tests;
pub mod recovery;
pub mod refused_webhooks;
pub mod replies;
pub mod resumptions;
pub mod retention;
#[cfg(any(test, feature = "pg_test"))]
mod server_tests;
pub mod sessions;
pub mod shares;
pub mod sources;
mod sql;
pub mod tenants;
pub mod transaction;
pub mod unverified;
pub mod vault;

/// A session's key: every table of a chat is keyed by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chat {
    pub tenant_id: i32,
    pub chat_id: String,
}
