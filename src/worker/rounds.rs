//! One round of the worker: in one transaction, everything that has come is recorded and everything
//! that is due is claimed; after its commit the calls begin. Where that fails, each thing gets a
//! transaction of its own, so that what cannot be written keeps back nothing but itself.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use pgrx::pg_sys;

use super::arrivals::Arrivals;
use super::chores::Chores;
use super::claims::Claims;
use super::cooldowns::Cooldowns;
use super::due::{self, Due, PassedOver};
use super::instances::InstanceSetUps;
use super::jobs::{Done, Job};
use super::line::{Doubts, LineChecks};
use super::places::{self, Places};
use super::pool::Pool;
use super::refused::{self, RefusedPosts};
use super::results;
use super::set_aside::{Queue, SetAside};
use super::sources::Sources;
use super::standing::Standing;
use super::terms::Terms;
use super::told::{self, Told};
use crate::error::Result;
use crate::intake::{echo, upkeep};
use crate::process::guarded::transaction;
use crate::refusals;
use crate::settings::{self, WorkerLimits};
use crate::store::extension::{self, Presence};
use crate::store::{deliveries, replies, transaction as commits};

/// What somebody has locked is tried again after this.
const HELD_RETRY: Duration = Duration::from_millis(50);

/// Errors that come back each round (a full disk) must not fill the log or the processor.
const AFTER_AN_ERROR: Duration = Duration::from_secs(1);

mod recovered;
mod singly;

pub struct Rounds {
    pool: Pool,
    claims: Claims,
    lines: LineChecks,
    instances: InstanceSetUps,
    cooldowns: Rc<Cooldowns>,
    places: Rc<Places>,
    arrivals: Arrivals,
    aside: SetAside,
    /// Results that PostgreSQL refused the last time: they are `aside`.
    late: Vec<Done>,
    doubts: Rc<Doubts>,
    next_recovery: Instant,
    /// Somebody holds rows of what is to be recovered.
    recovery_is_wanted: bool,
    chores: Chores,
    refused_posts: RefusedPosts,
    /// The installation of the extension whose rows the claims name.
    extension: Option<pg_sys::Oid>,
    sources: Sources,
    told: Told,
    standing: Standing,
}

/// What the loop does after a round.
pub enum Next {
    /// Wait for a wake-up, but not longer than this.
    Wait(Duration),
    /// The extension is gone.
    Leave,
    /// The extension was replaced: what this holds in memory is of no use any more.
    StartOver,
}

/// What a round's transaction found out.
#[derive(Default)]
struct Round {
    presence: Presence,
    jobs: Vec<Job>,
    /// What was refused before: it is due again, and done alone.
    on_trial: Vec<Due>,
    /// Which of the results that arrived could not be written: their sessions are locked.
    held: HashSet<usize>,
    /// More is due than this round has begun.
    has_more: bool,
    next_reply: Option<DateTime<Utc>>,
    next_delivery: Option<DateTime<Utc>>,
    next_pause_end: Option<DateTime<Utc>>,
}

impl Rounds {
    /// `extension` is the installation whose tables are worked on. The caller holds the session lock.
    pub fn new(pool: Pool, extension: Option<pg_sys::Oid>) -> Self {
        Self {
            places: Rc::new(Places::new(pool.most())),
            arrivals: Arrivals::default(),
            aside: SetAside::default(),
            late: Vec::new(),
            pool,
            claims: Claims::default(),
            lines: LineChecks::default(),
            instances: InstanceSetUps::default(),
            cooldowns: Rc::default(),
            doubts: Rc::default(),
            next_recovery: Instant::now(),
            recovery_is_wanted: true,
            chores: Chores::default(),
            refused_posts: RefusedPosts::default(),
            extension,
            sources: Sources::default(),
            told: Told::default(),
            standing: Standing::default(),
        }
    }

    pub fn fd(&self) -> std::os::fd::RawFd {
        self.pool.fd()
    }

    /// The server's settings were read again. What was kept in may be let out now.
    pub fn go_by(&mut self, outgoing: crate::net::Outgoing) {
        if self.pool.go_by(outgoing) {
            self.cooldowns = Rc::default();
        }
        self.sources.look_now();
    }

    pub fn round(&mut self) -> Next {
        let limits = settings::worker_limits();
        let fresh = self.pool.drain();
        self.places.count(self.pool.held());
        self.learn_from(&fresh, &limits);
        self.instances.heard(&fresh);
        self.lines.heard(&fresh);
        self.arrivals.extend(std::mem::take(&mut self.claims.unrecorded));
        self.arrivals.extend(fresh);
        let arrived = self.arrivals.take();
        self.recover(&limits);
        self.write_late(&limits);
        self.carry_refused_posts();
        match self.run(&arrived, &limits) {
            Ok(round) => self.after(round, arrived, &limits),
            Err(error) => {
                self.told.failure(&error.to_string());
                self.standing = Standing::Waits("the last round failed, the log says why");
                self.run_singly(arrived, &limits);
                Next::Wait(AFTER_AN_ERROR)
            }
        }
    }

    fn run(&mut self, arrived: &[Done], limits: &WorkerLimits) -> Result<Round> {
        let defaults = settings::behaviour();
        let (free, models) = (self.may_begin(limits), self.models_may_take(limits));
        let (lines, known) = (&mut self.lines, self.extension);
        let set_ups = &mut self.instances;
        let (cooldowns, doubts) = (self.cooldowns.as_ref(), self.doubts.as_ref());
        let (places, aside) = (self.places.as_ref(), &self.aside);
        transaction(|| {
            let now = Utc::now();
            let defaults = &defaults;
            let terms = Terms { defaults, limits, cooldowns, doubts, places, now, refused: None };
            let mut round = Round { presence: extension::presence(known)?, ..Round::default() };
            if round.presence != Presence::Ready {
                return Ok(round);
            }
            if arrived.is_empty() {
                commits::commit_without_waiting();
            }
            round.held = results::write(arrived, terms)?;
            echo::settle_all(&aside.all_of(Queue::Echoes), terms.now)?;
            let paused = aside.all_of(Queue::Pauses);
            round.next_pause_end = upkeep::end_due_pauses(defaults, &paused, terms.now)?;
            let passed_over = PassedOver::now(cooldowns, places, aside);
            let due = due::list(free, models, passed_over.bounds(defaults))?;
            let is_full = due::is_full(&due);
            let (on_trial, due) = aside.split(due);
            round.on_trial = on_trial;
            round.on_trial.extend(aside.without_calls());
            round.jobs = due::begin_all(&due, free, terms)?;
            let left = free.saturating_sub(round.jobs.len());
            round.jobs.extend(lines.begin_due(left, doubts, places, defaults, limits)?);
            let left = free.saturating_sub(round.jobs.len());
            round.jobs.extend(set_ups.begin_due(left, limits)?);
            let still_passed_over = PassedOver::now(cooldowns, places, aside);
            round.has_more =
                still_passed_over != passed_over || (is_full && !round.jobs.is_empty());
            if !round.has_more && limits.enabled {
                let bounds = still_passed_over.bounds(defaults);
                round.next_reply = replies::next_due_at(bounds)?;
                round.next_delivery = deliveries::next_due_at(bounds)?;
            }
            Ok(round)
        })
    }

    fn after(&mut self, round: Round, arrived: Vec<Done>, limits: &WorkerLimits) -> Next {
        match round.presence {
            Presence::Gone => return Next::Leave,
            Presence::Replaced => return Next::StartOver,
            Presence::OtherVersion => {
                self.claims.unrecorded = arrived;
                self.told.other_version();
                self.standing = Standing::Waits("the extension is of another version");
                return Next::Wait(limits.poll_interval);
            }
            Presence::WithoutRole => {
                self.claims.unrecorded = arrived;
                self.told.without_role();
                self.standing = Standing::Waits("the role whaply_worker is missing");
                return Next::Wait(limits.poll_interval);
            }
            // Somebody is altering or dropping the tables: their locks are not waited for.
            Presence::Locked => {
                self.claims.unrecorded = arrived;
                self.standing = Standing::Waits("somebody has locked the tables");
                return Next::Wait(HELD_RETRY);
            }
            Presence::Ready => {}
        }
        self.told.forget();
        self.settle_arrived(arrived, &round.held);
        for job in round.jobs {
            self.start(job);
        }
        self.begin_each_alone(round.on_trial, limits);
        self.tell_what_is_refused();
        self.look_at_sources();
        self.maintain(limits);
        let next_due = round.next_reply.into_iter().chain(round.next_delivery).min();
        self.standing = if limits.enabled {
            Standing::Works { has_more: round.has_more, next_due }
        } else {
            Standing::Waits("whaply.worker is off")
        };
        if round.has_more || !self.arrivals.is_empty() {
            return Next::Wait(Duration::ZERO);
        }
        // With no thread free, the end of a call is what wakes it.
        let next = [
            round.next_reply.filter(|_| self.models_may_take(limits) > 0),
            round.next_delivery.filter(|_| self.may_begin(limits) > 0),
            round.next_pause_end,
        ];
        Next::Wait(self.until_next(next.into_iter().flatten().min(), limits))
    }

    /// The claim of this job is committed.
    fn start(&mut self, mut job: Job) {
        self.claims.hold(&job);
        if let Job::Send { committed_at, .. } = &mut job {
            // The commit itself may have waited for a slow disk.
            *committed_at = Instant::now();
        }
        self.pool.run(job);
    }

    /// A provider that asks to wait asks for all replies of its account.
    fn learn_from(&self, fresh: &[Done], limits: &WorkerLimits) {
        for done in fresh {
            if let Done::Generated { claim, account, result, .. } = done
                && let Some(turn) = self.cooldowns.learn(*account, result, limits.retry_delay)
            {
                told::of_cooldown(*claim, turn);
            }
        }
    }

    /// What is under way, and what comes next.
    pub fn standing(&self) -> String {
        self.standing.explain(self.pool.under_way(), self.claims.unrecorded.len() + self.late.len())
    }

    /// In a transaction of its own. What is not written counts for the next time.
    fn carry_refused_posts(&mut self) {
        let refused = self.refused_posts.take_due();
        if !refused.is_empty() {
            let left = self.alone(|_| refused::write(&refused)).unwrap_or(refused);
            refusals::put_back(&left);
        }
    }

    /// What runs by the clock, in a transaction of its own: nobody's message waits for it.
    fn maintain(&mut self, limits: &WorkerLimits) {
        if let Some(due) = self.chores.take_due(limits) {
            let done = self.alone(|rounds| due.run(&rounds.aside.all_of(Queue::Pauses)));
            if done.is_none() && due.resumes() {
                self.resume_singly(limits);
            }
            self.chores.ended(due, done);
        }
    }

    /// In a transaction of its own, as each of these.
    fn look_at_sources(&mut self) {
        if self.sources.take_look() && self.alone(|rounds| rounds.sources.look()).is_none() {
            self.sources.failed();
        }
    }

    /// How many calls may begin. Switched off, what has come is still recorded.
    fn may_begin(&self, limits: &WorkerLimits) -> usize {
        if limits.enabled { self.pool.free() } else { 0 }
    }

    /// How many more calls to models may begin: sends must never wait for a slow model.
    fn models_may_take(&self, limits: &WorkerLimits) -> usize {
        let models = places::share_of_models(self.pool.most());
        models.saturating_sub(self.claims.generating()).min(self.may_begin(limits))
    }

    /// What is written is done with; what is held comes back in the next round.
    fn settle_arrived(&mut self, arrived: Vec<Done>, held: &HashSet<usize>) {
        for (index, done) in arrived.into_iter().enumerate() {
            if held.contains(&index) {
                self.claims.unrecorded.push(done);
            } else {
                self.claims.forget(&done);
            }
        }
    }

    /// One step in a transaction of its own. None: it failed, or the tables are not to be had.
    fn alone<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Option<T> {
        self.try_alone(step).ok().flatten()
    }

    /// [`Self::alone`] for whoever wants to know why; the error has been reported.
    fn try_alone<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        self.try_untold(step).inspect_err(|error| self.told.failure(&error.to_string()))
    }

    /// [`Self::try_alone`] for whoever reports the error, too.
    fn try_untold<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        transaction(|| match extension::presence(self.extension)? {
            Presence::Ready => step(self).map(Some),
            Presence::Locked
            | Presence::OtherVersion
            | Presence::WithoutRole
            | Presence::Replaced
            | Presence::Gone => Ok(None),
        })
    }

    fn until_next(&self, next_due: Option<DateTime<Utc>>, limits: &WorkerLimits) -> Duration {
        let mut wait = limits.poll_interval;
        if let Some(due) = next_due {
            // Due already and not taken: somebody holds it.
            wait = wait.min((due - Utc::now()).to_std().unwrap_or_default().max(HELD_RETRY));
        }
        if !self.claims.unrecorded.is_empty() {
            wait = wait.min(HELD_RETRY);
        }
        let clocks = [
            self.chores.next_due(limits),
            self.lines.next_due(),
            self.instances.next_due(),
            self.cooldowns.next_end(),
            self.places.next_look(),
            self.aside.next_due(),
            self.refused_posts.next_due(),
        ];
        if self.recovery_is_wanted {
            let left = self.next_recovery.saturating_duration_since(Instant::now());
            wait = wait.min(left.max(HELD_RETRY));
        }
        for at in clocks.into_iter().flatten().filter(|_| limits.enabled) {
            wait = wait.min(at.saturating_duration_since(Instant::now()).max(HELD_RETRY));
        }
        wait
    }
}
