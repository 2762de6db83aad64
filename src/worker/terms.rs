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
    /// Of one thing that is done alone: why PostgreSQL refused it the last time.
    pub refused: Option<&'a str>,
}

impl Terms<'_> {
    /// What is said of that which waited longer than `reply_expiry`. `what`: "answered", "sent".
    pub fn why_expired(&self, what: &str) -> String {
        let late = format!("it could not be {what} within reply_expiry");
        match self.refused {
            Some(why) => format!("{late}: {REFUSED}: {why}"),
            None => late,
        }
    }
}

/// With PostgreSQL's own words after it.
const REFUSED: &str = "PostgreSQL refused to let it go on";
