//! What `/metrics` tells of the tables and of the worker. Plain values, read by the main thread.

use crate::store::figures::{Count, TenantFigures};
use crate::tallies::Reading;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub worker_is_up: bool,
    /// What was counted since the server's start.
    pub counted: Option<Reading>,
    /// None: the tables could not be read.
    pub tables: Option<Tables>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// Open ones, by state.
    pub replies: Vec<Count>,
    /// How long the oldest waiting reply has been due, in seconds.
    pub overdue_seconds: f64,
    /// Open ones, by state.
    pub deliveries: Vec<Count>,
    /// By reason.
    pub paused_chats: Vec<Count>,
    /// Tenants by the state of their line.
    pub lines: Vec<Count>,
    /// By table.
    pub dead_rows: Vec<Count>,
    /// The first ones only.
    pub tenants: Vec<TenantFigures>,
}
