//! What a worker holds in memory: the replies its threads are generating, the calls they make, and the
//! results that could not be recorded yet. It never reclaims what it holds itself.

use std::collections::HashSet;

use super::jobs::{Done, Job, ReplyClaim, SendClaim};

#[derive(Default)]
pub struct Claims {
    generating: HashSet<ReplyClaim>,
    sending: HashSet<SendClaim>,
    /// Results whose session somebody else has locked: tried again at the next round.
    pub unrecorded: Vec<Done>,
}

impl Claims {
    pub fn hold(&mut self, job: &Job) {
        match job {
            Job::Generate { claim, .. } => drop(self.generating.insert(*claim)),
            Job::Send { claim, .. } => drop(self.sending.insert(*claim)),
            // None is claimed here: they are begun again after a time of their own.
            Job::LookUp { .. } | Job::AskLine { .. } | Job::SetUp { .. } => {}
        }
    }

    /// A result has been written, or given up.
    pub fn forget(&mut self, done: &Done) {
        match done {
            Done::Generated { claim, .. } => drop(self.generating.remove(claim)),
            Done::Sent { claim, .. } | Done::NotStarted { claim } => {
                self.sending.remove(claim);
            }
            Done::LookedUp { .. } | Done::Line { .. } | Done::SetUp { .. } => {}
        }
    }

    pub fn replies(&self) -> Vec<i64> {
        self.generating.iter().map(|claim| claim.reply_id).collect()
    }

    pub fn deliveries(&self) -> Vec<i64> {
        self.sending.iter().map(|claim| claim.delivery_id).collect()
    }

    pub fn generating(&self) -> usize {
        self.generating.len()
    }
}
