//! The functions that SQL can call, a file per verb: each parses its arguments, calls one function
//! of the inside and returns its answer. No SQL here, and no decision. (And PostgreSQL's own commands on
//! databases, which whaply makes way for.)

mod access;
mod arguments;
mod database_commands;
mod events;
mod home;
mod instances;
mod maintenance;
mod named;
mod privacy;
mod raise;
mod replies;
mod sending;
mod sessions;
mod webhook;
mod workers;

pub use database_commands::watch_database_commands;
pub use raise::or_raise;
