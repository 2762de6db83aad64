//! The functions that SQL can call, a file per verb: each parses its arguments, calls one function
//! of the inside and returns its answer. No SQL here, and no decision.

mod access;
mod arguments;
mod events;
mod home;
mod instances;
mod maintenance;
mod privacy;
mod raise;
mod replies;
mod sending;
mod sessions;
mod webhook;
mod workers;

pub use raise::or_raise;
