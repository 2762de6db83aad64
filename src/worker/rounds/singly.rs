//! After a round that failed: all of it once more, each thing in a transaction of its own, so that what
//! cannot be written keeps back nothing but itself.

use std::collections::HashSet;
use std::rc::Rc;

use chrono::Utc;

use super::super::cooldowns::Cooldowns;
use super::super::due::{self, Due, PassedOver};
use super::super::jobs::Done;
use super::super::line::Doubts;
use super::super::places::Places;
use super::super::results::{self, Recorded};
use super::super::terms::Terms;
use super::Rounds;
use crate::error::{Blame, Error, Result};
use crate::server_log::log;
use crate::settings::{self, Behaviour, WorkerLimits};
use crate::store::findings::{self, Subject};

/// What the terms of each transaction are made of.
pub(super) struct Shared {
    defaults: Behaviour,
    cooldowns: Rc<Cooldowns>,
    doubts: Rc<Doubts>,
    places: Rc<Places>,
}

impl Shared {
    pub(super) fn of(rounds: &Rounds) -> Self {
        Self {
            defaults: settings::behaviour(),
            cooldowns: Rc::clone(&rounds.cooldowns),
            doubts: Rc::clone(&rounds.doubts),
            places: Rc::clone(&rounds.places),
        }
    }

    pub(super) fn terms<'a>(
        &'a self,
        limits: &'a WorkerLimits,
        refused: Option<&'a str>,
    ) -> Terms<'a> {
        Terms {
            defaults: &self.defaults,
            limits,
            cooldowns: &self.cooldowns,
            doubts: &self.doubts,
            places: &self.places,
            now: Utc::now(),
            refused,
        }
    }
}

impl Rounds {
    /// A result is kept until it is written, or PostgreSQL has said that it never will be.
    pub(super) fn run_singly(&mut self, arrived: Vec<Done>, limits: &WorkerLimits) {
        // What the round took has gone with it.
        self.places.count(self.pool.held());
        let shared = Shared::of(self);
        for done in arrived {
            self.write_or_keep(done, shared.terms(limits, None));
        }
        self.maintain(limits);
        let without_calls = self.alone(|rounds| due::without_calls(&rounds.aside));
        self.begin_each_alone(without_calls.unwrap_or_default(), limits);
        let (free, models) = (self.may_begin(limits), self.models_may_take(limits));
        let passed_over = PassedOver::now(&shared.cooldowns, &shared.places, &self.aside);
        let due = self.alone(|_| due::list(free, models, passed_over.bounds(&shared.defaults)));
        let due: Vec<Due> = due.unwrap_or_default();
        self.begin_each_alone(due, limits);
        self.tell_what_is_refused();
        let left = self.may_begin(limits);
        let Shared { defaults, doubts, places, .. } = &shared;
        let asks =
            self.alone(|rounds| rounds.lines.begin_due(left, doubts, places, defaults, limits));
        for job in asks.unwrap_or_default() {
            self.start(job);
        }
        let left = self.may_begin(limits);
        let set_ups = self.alone(|rounds| rounds.instances.begin_due(left, limits));
        for job in set_ups.unwrap_or_default() {
            self.start(job);
        }
    }

    /// After chores that failed.
    pub(super) fn resume_singly(&mut self, limits: &WorkerLimits) {
        let defaults = settings::behaviour();
        let silent = self.alone(|rounds| due::silent(&rounds.aside, &defaults));
        self.begin_each_alone(silent.unwrap_or_default(), limits);
        self.tell_what_is_refused();
    }

    /// Begins these, each in a transaction of its own. What PostgreSQL refuses is left aside for a while.
    pub(super) fn begin_each_alone(&mut self, due: Vec<Due>, limits: &WorkerLimits) {
        let shared = Shared::of(self);
        for due in due {
            if due.makes_a_call() && self.may_begin(limits) == 0 {
                continue;
            }
            let refused = self.aside.why(due);
            let terms = shared.terms(limits, refused.as_deref());
            match self.try_untold(|_| due::begin_alone(due, terms)) {
                Ok(Some(Some(job))) => {
                    say(self.aside.forget(due));
                    self.start(job);
                }
                Ok(Some(None)) if !due.makes_a_call() => say(self.aside.forget(due)),
                // It ended, or waits for something else: the next look tells.
                Ok(_) => {}
                Err(error) if error.blame() == Blame::Server => {
                    self.told.failure(&error.to_string());
                    return;
                }
                Err(error) => self.leave_aside(due, &error, terms),
            }
        }
    }

    pub(super) fn leave_aside(&mut self, due: Due, error: &Error, terms: Terms<'_>) {
        let why = error.to_string();
        let terms = Terms { refused: Some(&why), ..terms };
        // Where even that is refused, it is tried again as long as it waits.
        let _ = self.try_untold(|_| due::end_refused(due, terms));
        let not_done = self.alone(|_| due::not_done(&[due], terms.defaults)).unwrap_or_default();
        say(match not_done.first() {
            Some((due, tenant_id)) => self.aside.refuse(*due, *tenant_id, error),
            None => self.aside.forget(due),
        });
    }

    /// View `health` shows what is left aside, as long as it waits.
    pub(super) fn tell_what_is_refused(&mut self) {
        if !self.aside.take_look() {
            return;
        }
        let defaults = settings::behaviour();
        let told = self.alone(|rounds| {
            let not_done = due::not_done(&rounds.aside.all(), &defaults)?;
            say(rounds.aside.keep_only(&not_done.into_iter().map(|(due, _)| due).collect()));
            findings::replace(Subject::Refused, &rounds.aside.findings())
        });
        if told == Some(true) {
            self.aside.are_told();
        }
    }

    /// Tries the results once more that PostgreSQL refused, as far as their pauses are over.
    pub(super) fn write_late(&mut self, limits: &WorkerLimits) {
        if self.late.is_empty() {
            return;
        }
        let shared = Shared::of(self);
        for done in std::mem::take(&mut self.late) {
            if whose(&done).is_some_and(|due| self.aside.is_left(due)) {
                self.late.push(done);
            } else {
                self.write_or_keep(done, shared.terms(limits, None));
            }
        }
    }

    /// A result is never dropped while it may be written some day.
    fn write_or_keep(&mut self, done: Done, terms: Terms<'_>) {
        match (self.write_alone(&done, terms), whose(&done)) {
            (Ok(Some(Recorded::Done)), due) => {
                self.claims.forget(&done);
                say(due.and_then(|due| self.aside.forget(due)));
            }
            (Err(error), Some(due)) if error.blame() != Blame::Server => {
                self.leave_aside(due, &error, terms);
                self.late.push(done);
            }
            // Nobody waits for it: it is asked for again by a clock of its own.
            (Err(error), None) if error.blame() != Blame::Server => {
                self.told.failure(&error.to_string());
            }
            (Ok(_) | Err(_), _) => self.claims.unrecorded.push(done),
        }
    }

    /// None: the tables are not to be had.
    fn write_alone(&mut self, done: &Done, terms: Terms<'_>) -> Result<Option<Recorded>> {
        let recorded = |held: HashSet<usize>| {
            if held.is_empty() { Recorded::Done } else { Recorded::Held }
        };
        match self.try_untold(|_| results::write(std::slice::from_ref(done), terms)) {
            Ok(held) => Ok(held.map(recorded)),
            Err(error) if error.blame() == Blame::Event => {
                self.try_untold(|_| results::end_refused(done, &error.to_string(), terms))
            }
            Err(error) => Err(error),
        }
    }
}

fn say(lines: impl IntoIterator<Item = String>) {
    lines.into_iter().for_each(|line| log!("{line}"));
}

/// What a result belongs to. None: nobody waits for it.
fn whose(done: &Done) -> Option<Due> {
    match done {
        Done::Generated { claim, .. } => Some(Due::Answer(claim.reply_id)),
        Done::Sent { claim, .. } | Done::NotStarted { claim } => Some(Due::Send(claim.delivery_id)),
        Done::LookedUp { claim, .. } => Some(Due::LookUp(claim.delivery_id)),
        Done::Line { .. } | Done::SetUp { .. } => None,
    }
}
