//! One round of the worker: in one transaction, everything that has come is recorded and everything
//! that is due is claimed; after its commit the calls begin.

use std::time::{Duration, Instant};

use chrono::Utc;
use pgrx::{log, warning};

use super::claims::Claims;
use super::guarded::transaction;
use super::jobs::{Done, Job};
use super::line::{self, LineChecks};
use super::pool::Pool;
use super::record::Recorded;
use super::{claim, lookup, record, send};
use crate::error::Result;
use crate::intake::echo;
use crate::settings::{self, Behaviour, WorkerLimits};
use crate::store::extension::{self, Presence};
use crate::store::{deliveries, maintenance, replies};

/// What somebody has locked is tried again after this.
const HELD_RETRY: Duration = Duration::from_millis(50);

/// Errors that come back each round (a full disk) must not fill the log or the processor.
const AFTER_AN_ERROR: Duration = Duration::from_secs(1);

/// The part of the threads that models may take: sends must never wait for a slow model.
const SENDS_KEEP_ONE_IN: usize = 4;

pub struct Rounds {
    pool: Pool,
    claims: Claims,
    lines: LineChecks,
    next_maintenance: Option<Instant>,
    last_error: Option<String>,
}

/// What the loop does after a round.
pub enum Next {
    /// Wait for a wake-up, but not longer than this.
    Wait(Duration),
    /// The extension is gone.
    Leave,
}

/// What a round's transaction found out.
#[derive(Default)]
struct Round {
    presence: Presence,
    jobs: Vec<Job>,
    /// Which of the results that arrived could not be written: their sessions are locked.
    held: Vec<usize>,
    next_due: Option<chrono::DateTime<Utc>>,
}

impl Rounds {
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            claims: Claims::default(),
            lines: LineChecks::default(),
            next_maintenance: None,
            last_error: None,
        }
    }

    pub fn fd(&self) -> std::os::fd::RawFd {
        self.pool.fd()
    }

    /// Takes back what a worker of before left behind. Called once, holding the session lock.
    pub fn recover(&self, limits: &WorkerLimits) -> Result<()> {
        transaction(|| {
            let queued = replies::reclaim(&[], true)?;
            let uncertain = deliveries::orphans_to_uncertain(Utc::now() + limits.settle_time)?;
            if queued + uncertain > 0 {
                log!("whaply: took back {queued} replies and {uncertain} sends of unknown end");
            }
            Ok(())
        })
    }

    pub fn round(&mut self) -> Next {
        let limits = settings::worker_limits();
        let mut arrived = std::mem::take(&mut self.claims.unrecorded);
        arrived.extend(self.pool.drain());
        if !limits.enabled {
            self.claims.unrecorded = arrived;
            return Next::Wait(limits.poll_interval);
        }
        match self.run(&arrived, &limits) {
            Ok(round) => self.after(round, arrived, &limits),
            Err(error) => {
                self.report(&error.to_string());
                self.record_singly(arrived, &limits);
                Next::Wait(AFTER_AN_ERROR)
            }
        }
    }

    fn run(&mut self, arrived: &[Done], limits: &WorkerLimits) -> Result<Round> {
        let defaults = settings::behaviour();
        let (claims, lines, pool) = (&self.claims, &mut self.lines, &self.pool);
        let maintain = limits.maintenance_interval.is_some()
            && self.next_maintenance.is_none_or(|next| next <= Instant::now());
        transaction(|| {
            let mut round = Round { presence: extension::presence()?, ..Round::default() };
            if round.presence != Presence::Ready {
                return Ok(round);
            }
            for (index, done) in arrived.iter().enumerate() {
                if write(done, &defaults, limits)? == Recorded::Held {
                    round.held.push(index);
                }
            }
            if maintain {
                maintenance::run(&defaults, settings::keep_processed_events())?;
                replies::reclaim(&claims.held(), false)?;
            }
            let now = Utc::now();
            echo::settle_all(now)?;
            let free = |round: &Round| pool.free().saturating_sub(round.jobs.len());
            round.jobs.extend(send::begin_due(free(&round), &defaults, limits, now)?);
            round.jobs.extend(lookup::begin_due(free(&round), &defaults, limits, now)?);
            round.jobs.extend(lines.begin_due(free(&round), &defaults, limits)?);
            let models = models_may_take(limits.threads, claims.generating()).min(free(&round));
            round.jobs.extend(claim::claim_due(models, &defaults, limits, now)?);
            round.next_due =
                [replies::next_due_at()?, deliveries::next_due_at()?].into_iter().flatten().min();
            Ok(round)
        })
    }

    fn after(&mut self, round: Round, arrived: Vec<Done>, limits: &WorkerLimits) -> Next {
        match round.presence {
            Presence::Gone => return Next::Leave,
            // Somebody is altering or dropping the tables: their locks are not waited for.
            Presence::Locked => {
                self.claims.unrecorded = arrived;
                return Next::Wait(HELD_RETRY);
            }
            Presence::Ready => {}
        }
        self.last_error = None;
        self.settle_arrived(arrived, &round.held);
        if let Some(interval) = limits.maintenance_interval
            && self.next_maintenance.is_none_or(|next| next <= Instant::now())
        {
            self.next_maintenance = Some(Instant::now() + interval);
        }
        for job in round.jobs {
            if let Job::Generate { claim, .. } = &job {
                self.claims.hold(claim.reply_id);
            }
            self.pool.run(job);
        }
        Next::Wait(self.until_next(round.next_due, limits))
    }

    /// What is written is done with; what is held comes back in the next round.
    fn settle_arrived(&mut self, arrived: Vec<Done>, held: &[usize]) {
        for (index, done) in arrived.into_iter().enumerate() {
            if held.contains(&index) {
                self.claims.unrecorded.push(done);
            } else {
                self.claims.forget(&done);
            }
        }
    }

    /// A round failed: each result once more in a transaction of its own, so that one bad row keeps
    /// back nothing but itself. What fails again is given up; its lease, or the next start, finds it.
    fn record_singly(&mut self, arrived: Vec<Done>, limits: &WorkerLimits) {
        let defaults = settings::behaviour();
        for done in arrived {
            let written = transaction(|| match extension::presence()? {
                Presence::Ready => write(&done, &defaults, limits),
                Presence::Locked => Ok(Recorded::Held),
                Presence::Gone => Ok(Recorded::Done),
            });
            match written {
                Ok(Recorded::Held) => self.claims.unrecorded.push(done),
                Ok(Recorded::Done) => self.claims.forget(&done),
                Err(error) => {
                    self.report(&error.to_string());
                    self.claims.forget(&done);
                }
            }
        }
    }

    /// One line for each new error, not one for each round.
    fn report(&mut self, error: &str) {
        if self.last_error.as_deref() != Some(error) {
            warning!("whaply: the reply worker could not finish a round: {error}");
            self.last_error = Some(error.to_owned());
        }
    }

    fn until_next(
        &self,
        next_due: Option<chrono::DateTime<Utc>>,
        limits: &WorkerLimits,
    ) -> Duration {
        let mut wait = limits.poll_interval;
        if let Some(due) = next_due {
            // Due already and not taken: locked by somebody, or no thread is free.
            wait = wait.min((due - Utc::now()).to_std().unwrap_or_default().max(HELD_RETRY));
        }
        if !self.claims.unrecorded.is_empty() {
            wait = wait.min(HELD_RETRY);
        }
        for at in [self.next_maintenance, self.lines.next_due()].into_iter().flatten() {
            wait = wait.min(at.saturating_duration_since(Instant::now()).max(HELD_RETRY));
        }
        wait
    }
}

/// How many more calls to models may begin.
fn models_may_take(threads: usize, generating: usize) -> usize {
    let kept_for_sends = (threads / SENDS_KEEP_ONE_IN).min(threads.saturating_sub(1));
    threads.saturating_sub(kept_for_sends).saturating_sub(generating)
}

/// Writes one result. Safe to repeat: each is written by its claim.
fn write(done: &Done, defaults: &Behaviour, limits: &WorkerLimits) -> Result<Recorded> {
    let now = Utc::now();
    match done {
        Done::Generated { claim, provider, result } => {
            record::generated(*claim, *provider, result, defaults, limits, now)
        }
        Done::Sent { claim, outcome } => send::ended(*claim, outcome, defaults, limits, now),
        Done::NotStarted { claim } => send::not_started(*claim, now),
        Done::LookedUp { claim, result } => lookup::ended(*claim, result, defaults, limits, now),
        Done::Line { tenant_id, result } => {
            line::answered(*tenant_id, result).map(|()| Recorded::Done)
        }
    }
}
