//! What a worker of before left behind is taken back: all of it together, and where PostgreSQL refuses
//! that, one after the other. Rows that somebody holds are not waited for: they come next time.

use std::time::{Duration, Instant};

use super::super::due::Due;
use super::super::set_aside::Queue;
use super::Rounds;
use super::singly::Shared;
use crate::error::{Blame, Result};
use crate::server_log::log;
use crate::settings::WorkerLimits;
use crate::store::recovery::{self, Recovered};

/// How often it is looked for: a commit that failed may yet have been one. While somebody holds some
/// of it, or something is refused, more often.
const INTERVAL: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

/// What this worker holds itself, or leaves aside.
struct Known {
    replies: Vec<i64>,
    deliveries: Vec<i64>,
}

impl Rounds {
    /// It has a clock of its own, since pg_cron may do the chores.
    pub(super) fn recover(&mut self, limits: &WorkerLimits) {
        if self.next_recovery > Instant::now() {
            return;
        }
        let mut known =
            Known { replies: self.claims.replies(), deliveries: self.claims.deliveries() };
        known.replies.extend(self.aside.ids(Queue::Replies));
        known.deliveries.extend(self.aside.ids(Queue::Deliveries));
        let recovered = match self.try_untold(|_| known.take_back(None, limits)) {
            Ok(recovered) => recovered,
            Err(error) if error.blame() == Blame::Server => {
                self.told.failure(&error.to_string());
                None
            }
            Err(_) => self.recover_singly(&known, limits),
        };
        if let Some((queued, uncertain)) = recovered
            && queued.taken + uncertain.taken > 0
        {
            let (queued, uncertain) = (queued.taken, uncertain.taken);
            log!("whaply: took back {queued} replies and {uncertain} sends of unknown end");
        }
        self.recovery_is_wanted =
            recovered.is_none_or(|(queued, uncertain)| queued.left + uncertain.left > 0);
        let is_early = self.recovery_is_wanted || !self.aside.is_empty();
        let wait = if is_early { RETRY } else { INTERVAL };
        self.next_recovery = Instant::now() + wait;
    }

    fn recover_singly(
        &mut self,
        known: &Known,
        limits: &WorkerLimits,
    ) -> Option<(Recovered, Recovered)> {
        let orphans = self.alone(|_| known.orphans())?;
        let shared = Shared::of(self);
        let (mut queued, mut uncertain) = (Recovered::default(), Recovered::default());
        for orphan in orphans {
            match self.try_untold(|_| known.take_back(Some(orphan), limits)) {
                Ok(Some((of_replies, of_deliveries))) => {
                    queued = queued.and(of_replies);
                    uncertain = uncertain.and(of_deliveries);
                }
                Ok(None) => return None,
                Err(error) => self.leave_aside(orphan, &error, shared.terms(limits, None)),
            }
        }
        Some((queued, uncertain))
    }
}

impl Known {
    /// All that is not known, or one of it.
    fn take_back(
        &self,
        only: Option<Due>,
        limits: &WorkerLimits,
    ) -> Result<(Recovered, Recovered)> {
        let (call, settle) = (limits.call_time(), limits.settle_time);
        let only_of = |queue| only.filter(|due| due.queue() == queue).map(Due::id);
        let is_asked = |queue| only.is_none_or(|due| due.queue() == queue);
        let queued = if is_asked(Queue::Replies) {
            recovery::requeue_orphans(&self.replies, only_of(Queue::Replies))?
        } else {
            Recovered::default()
        };
        let uncertain = if is_asked(Queue::Deliveries) {
            let only = only_of(Queue::Deliveries);
            recovery::orphans_to_uncertain(&self.deliveries, only, call, settle)?
        } else {
            Recovered::default()
        };
        Ok((queued, uncertain))
    }

    fn orphans(&self) -> Result<Vec<Due>> {
        let replies = recovery::orphaned_replies(&self.replies)?.into_iter().map(Due::Answer);
        let deliveries =
            recovery::orphaned_deliveries(&self.deliveries)?.into_iter().map(Due::Send);
        Ok(replies.chain(deliveries).collect())
    }
}
