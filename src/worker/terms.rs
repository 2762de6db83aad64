//! What everything in one round goes by: read once, so that a reload in between changes nothing
//! half-way.

use chrono::{DateTime, Utc};

use super::cooldowns::Cooldowns;
use super::line::Doubts;
use super::places::Places;
use crate::settings::{Behaviour, WorkerLimits};

#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// For the tenants where a column is NULL.
    pub defaults: &'a Behaviour,
    pub limits: &'a WorkerLimits,
    pub cooldowns: &'a Cooldowns,
    pub doubts: &'a Doubts,
    pub places: &'a Places,
    pub now: DateTime<Utc>,
}
