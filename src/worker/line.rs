//! While an instance is not open, Evolution is asked for its state: at once, then at intervals.
//! Until it is open nothing is generated or sent for it. Where a send met a closed socket, or its end
//! is not known, it is asked once, since not every gateway tells when a line closes.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::jobs::{Done, Job};
use super::keys;
use super::places::{Places, Server, Side};
use crate::error::Result;
use crate::evolution::{self, State};
use crate::server_log::log;
use crate::settings::{Behaviour, WorkerLimits};
use crate::store::tenants;

/// When each closed line was last asked for. In memory: a restart asks at once.
#[derive(Default)]
pub struct LineChecks {
    next: HashMap<i32, Instant>,
    /// Why a line could not be asked for, as it was last told to the log.
    told: HashMap<i32, String>,
}

/// Tenants whose line is called open, but may not be: to be asked.
#[derive(Default)]
pub struct Doubts(RefCell<HashSet<i32>>);

impl Doubts {
    pub fn about(&self, tenant_id: i32) {
        self.0.borrow_mut().insert(tenant_id);
    }
}

impl LineChecks {
    /// The questions that are due, at most `free`.
    pub fn begin_due(
        &mut self,
        free: usize,
        doubts: &Doubts,
        places: &Places,
        defaults: &Behaviour,
        limits: &WorkerLimits,
    ) -> Result<Vec<Job>> {
        let closed = tenants::with_a_closed_line_and_work()?;
        let mut doubts = doubts.0.borrow_mut();
        doubts.retain(|tenant_id| !closed.contains(tenant_id));
        self.next.retain(|tenant_id, _| closed.contains(tenant_id));
        let mut jobs = Vec::new();
        for tenant_id in closed {
            let is_due = self.next.get(&tenant_id).is_none_or(|next| *next <= Instant::now());
            if !is_due || jobs.len() >= free {
                continue;
            }
            self.next.insert(tenant_id, Instant::now() + limits.line_check_interval);
            jobs.extend(self.ask(tenant_id, places, defaults, limits)?);
        }
        let in_doubt: Vec<i32> =
            doubts.iter().copied().take(free.saturating_sub(jobs.len())).collect();
        for tenant_id in in_doubt {
            doubts.remove(&tenant_id);
            jobs.extend(self.ask(tenant_id, places, defaults, limits)?);
        }
        Ok(jobs)
    }

    /// The question for a line; where its settings are wrong, the log says what to change.
    fn ask(
        &mut self,
        tenant_id: i32,
        places: &Places,
        defaults: &Behaviour,
        limits: &WorkerLimits,
    ) -> Result<Option<Job>> {
        let asked = ask(tenant_id, places, defaults, limits)?;
        Ok(asked.unwrap_or_else(|why| {
            self.tell(tenant_id, &why);
            None
        }))
    }

    /// Nothing else tells of a line that cannot be asked for: the log does, once for each reason.
    pub fn heard(&mut self, fresh: &[Done]) {
        for done in fresh {
            let Done::Line { tenant_id, result } = done else { continue };
            match result {
                Ok(_) => {
                    self.told.remove(tenant_id);
                }
                Err(why) => self.tell(*tenant_id, why),
            }
        }
    }

    fn tell(&mut self, tenant_id: i32, why: &str) {
        if self.told.get(&tenant_id).is_none_or(|told| told != why) {
            log!("whaply: tenant {tenant_id}: line: its state is not known: {why}");
            self.told.insert(tenant_id, why.to_owned());
        }
    }

    /// When the next question is due, if a line is closed.
    pub fn next_due(&self) -> Option<Instant> {
        self.next.values().min().copied()
    }
}

/// None: there is nobody to ask, or it has its share of calls already. The error says what to change.
fn ask(
    tenant_id: i32,
    places: &Places,
    defaults: &Behaviour,
    limits: &WorkerLimits,
) -> Result<std::result::Result<Option<Job>, String>> {
    let Some(assistant) = tenants::assistant(tenant_id, defaults)? else { return Ok(Ok(None)) };
    let instance = match keys::instance_of(&assistant) {
        Ok(instance) => instance,
        Err(why) => return Ok(Err(why)),
    };
    if !places.take(Side::Gateway, Server::of(&instance.base_url), tenant_id) {
        return Ok(Ok(None));
    }
    let request = evolution::connection_state(&instance, limits.send_timeout);
    Ok(Ok(Some(Job::AskLine { tenant_id, request })))
}

/// Writes what Evolution said of a line. No answer, or no state, changes nothing.
pub fn answered(tenant_id: i32, result: &std::result::Result<Option<State>, String>) -> Result<()> {
    if let Ok(Some(state)) = result {
        tenants::set_connection_state(tenant_id, state.as_str())?;
    }
    Ok(())
}
