//! After a round that failed: all of it once more, each thing in a transaction of its own, so that what
//! cannot be written keeps back nothing but itself.

use std::rc::Rc;

use chrono::Utc;

use super::super::due::{self, Due, PassedOver};
use super::super::jobs::Done;
use super::super::results::{self, Recorded};
use super::super::terms::Terms;
use super::Rounds;
use crate::error::Blame;
use crate::intake::echo;
use crate::settings::{self, WorkerLimits};

impl Rounds {
    /// A result is kept until it is written, or PostgreSQL has said that it never will be.
    pub(super) fn run_singly(&mut self, arrived: Vec<Done>, limits: &WorkerLimits) {
        // What the round took has gone with it.
        self.places.count(self.pool.held());
        let defaults = settings::behaviour();
        let (cooldowns, doubts) = (Rc::clone(&self.cooldowns), Rc::clone(&self.doubts));
        let places = Rc::clone(&self.places);
        let terms = || Terms {
            defaults: &defaults,
            limits,
            cooldowns: &cooldowns,
            doubts: &doubts,
            places: &places,
            now: Utc::now(),
        };
        for done in arrived {
            match self.write_alone(&done, terms()) {
                Some(Recorded::Done) => self.claims.forget(&done),
                Some(Recorded::Held) | None => self.claims.unrecorded.push(done),
            }
        }
        self.maintain(limits);
        self.alone(|_| echo::settle_all(Utc::now()));
        let (free, models) = (self.may_begin(limits), self.models_may_take(limits));
        let passed_over = PassedOver::now(&cooldowns, &places);
        let due = self.alone(|_| due::list(free, models, passed_over.bounds(&defaults)));
        let due: Vec<Due> = due.unwrap_or_default();
        for due in due {
            if self.may_begin(limits) > 0
                && let Some(Some(job)) = self.alone(|_| due::begin_alone(due, terms()))
            {
                self.start(job);
            }
        }
        let left = self.may_begin(limits);
        let asks =
            self.alone(|rounds| rounds.lines.begin_due(left, &doubts, &places, &defaults, limits));
        for job in asks.unwrap_or_default() {
            self.start(job);
        }
        let left = self.may_begin(limits);
        let set_ups = self.alone(|rounds| rounds.instances.begin_due(left, limits));
        for job in set_ups.unwrap_or_default() {
            self.start(job);
        }
    }

    /// None: it could not be written at this moment.
    fn write_alone(&mut self, done: &Done, terms: Terms<'_>) -> Option<Recorded> {
        let written = self.try_alone(|_| results::write(std::slice::from_ref(done), terms));
        match written {
            Ok(held) => {
                held.map(|held| if held.is_empty() { Recorded::Done } else { Recorded::Held })
            }
            Err(error) if error.blame() == Blame::Event => {
                self.alone(|_| results::end_refused(done, &error.to_string(), terms))
            }
            Err(_) => None,
        }
    }
}
