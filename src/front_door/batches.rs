//! The main thread's work: what has arrived is checked and stored in one transaction, and answered
//! when that is on disk. What fails makes only itself fail.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use super::hall::Hall;
use super::limits::Rates;
use super::posters::{Poster, Posters};
use super::queue::{Answer, Post, Ticket, TurnedAway};
use super::statuses::{self, Refusal};
use super::stopping;
use crate::credentials::{self, RefusedBecause};
use crate::error::{Blame, Error, Result};
use crate::intake::{self, Outcome};
use crate::process::guarded::transaction;
use crate::process::impatiently;
use crate::refusals::{self, Reason};
use crate::server_log::log;
use crate::settings;
use crate::store::extension::{self, Presence};
use crate::store::{acting_role, tenants, transaction as store_transaction};
use crate::webhook::Payload;
use crate::worker;

/// Events in one transaction at most, and about so many bytes: nobody waits longer than that takes.
const MOST_EVENTS: usize = 1_000;
const MOST_BYTES: usize = 16 * 1_024 * 1_024;

/// How long a batch that failed is taken apart before the rest of it is asked to come again.
const TIME_TO_TAKE_APART: Duration = Duration::from_secs(2);

/// A tenant whose event failed is kept apart from the others this long.
const APART: Duration = Duration::from_secs(10);

/// How long a batch waits for tables that somebody has locked (an upgrade takes a moment).
const PATIENCE_WITH_LOCKS: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(50);

pub struct Batches {
    hall: Arc<Hall>,
    rates: Rates,
    posters: Posters,
    began: Instant,
    /// Instances whose events failed of late, and until when they are kept apart.
    apart: HashMap<String, Instant>,
    /// Instances of which the log has said that their webhooks are too large.
    said_too_large: HashSet<String>,
    /// What the log has said of secrets that could not be read.
    said_of_secrets: HashMap<i32, Vec<String>>,
    /// A failure of the whole server is not said again before this.
    silent_until: Option<Instant>,
    /// Something failed that makes one wonder whether the extension is still there.
    is_in_doubt: bool,
}

/// The events of a batch that may be stored, and who waits for each.
#[derive(Default)]
struct Admitted {
    payloads: Vec<Payload>,
    tickets: Vec<Ticket>,
}

impl Batches {
    pub fn new(hall: Arc<Hall>) -> Self {
        Self {
            hall,
            rates: Rates::default(),
            posters: Posters::default(),
            began: Instant::now(),
            apart: HashMap::new(),
            said_too_large: HashSet::new(),
            said_of_secrets: HashMap::new(),
            silent_until: None,
            is_in_doubt: false,
        }
    }

    /// Whether the extension should be looked for; asked once for each reason.
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_in_doubt)
    }

    /// The settings were read again.
    pub fn settings_changed(&mut self) {
        self.is_in_doubt = true;
        self.posters.forget();
    }

    /// Stores what has arrived; whether anything had.
    pub fn round(&mut self) -> bool {
        let posts = self.hall.queue.take(MOST_EVENTS, MOST_BYTES);
        if posts.is_empty() {
            return false;
        }
        let now = Instant::now();
        self.apart.retain(|_, until| *until > now);
        let (suspects, others): (Vec<Post>, Vec<Post>) = posts
            .into_iter()
            .partition(|post| self.apart.contains_key(&post.payload.envelope.instance));
        if !others.is_empty() {
            self.store(others);
        }
        if !suspects.is_empty() {
            impatiently(|| self.store(suspects));
        }
        true
    }

    fn store(&mut self, posts: Vec<Post>) {
        let (began, events) = (Instant::now(), posts.len());
        let (mut waiting, mut admitted) = (Some(posts), Admitted::default());
        let stored = transaction(|| {
            acting_role::require_role()?;
            extension::require_served()?;
            let posts = waiting.as_deref().unwrap_or_default();
            let instances: BTreeSet<&str> =
                posts.iter().map(|post| post.payload.envelope.instance.as_str()).collect();
            let instances: Vec<&str> = instances.into_iter().collect();
            let (tenants, kept) = tenants::with_credentials(&instances, &settings::behaviour())?;
            let mut posters = self.posters.of(kept, began);
            admitted = self.admit(waiting.take().unwrap_or_default(), &mut posters, began);
            let now = store_transaction::now();
            stored_well(intake::ingest_all_with(&tenants, &admitted.payloads, now))
        });
        let Admitted { payloads, tickets } = admitted;
        self.is_in_doubt |= stored.is_err();
        // The tenants could not even be read.
        if let (Some(_), Err(error)) = (&waiting, &stored) {
            self.say_failure(error);
        }
        for post in waiting.into_iter().flatten() {
            let refusal = stored.as_ref().err().map_or_else(unknown_end, statuses::refusal);
            self.answer(post.ticket, Err(refusal));
        }
        let answers = match stored {
            Ok(outcomes) => outcomes.into_iter().map(answer_of).collect(),
            Err(error) => impatiently(|| self.take_apart(&payloads, error)),
        };
        for (ticket, answer) in tickets.into_iter().zip(answers) {
            self.answer(ticket, answer);
        }
        self.hall.metrics.batch(events, began.elapsed());
    }

    /// Who may post is let through; the others have their answer.
    fn admit(
        &mut self,
        posts: Vec<Post>,
        posters: &mut HashMap<String, Poster>,
        began: Instant,
    ) -> Admitted {
        let mut admitted = Admitted::default();
        let rate = self.hall.rules().limits.webhook_rate;
        for Post { payload, ticket } in posts {
            let instance = &payload.envelope.instance;
            match self.may_post(instance, &ticket, posters.get_mut(instance), rate, began) {
                Ok(()) => {
                    admitted.payloads.push(payload);
                    admitted.tickets.push(ticket);
                }
                Err(refusal) => self.answer(ticket, Err(refusal)),
            }
        }
        admitted
    }

    fn may_post(
        &mut self,
        instance: &str,
        ticket: &Ticket,
        poster: Option<&mut Poster>,
        rate: u32,
        began: Instant,
    ) -> std::result::Result<(), Refusal> {
        let Some(poster) = poster else {
            refusals::count(None, Reason::UnknownInstance);
            return Err(Refusal::UnknownInstance);
        };
        let now = store_transaction::now();
        let check = |poster: &Poster| {
            let (presented, accepted) = (&ticket.presented, &poster.accepted);
            credentials::check(presented, accepted, settings::require_secret(), now)
        };
        let mut checked = check(poster);
        if checked.is_err_and(|because| because != RefusedBecause::NoSecret)
            && self.posters.read_again(poster, began)
        {
            checked = check(poster);
        }
        let Poster { tenant_id, accepted, troubles, .. } = &*poster;
        if let Err(because) = checked {
            if because != RefusedBecause::NoSecret && !troubles.is_empty() {
                self.say_of_secrets(*tenant_id, instance, troubles);
                return Err(Refusal::unavailable("the tenant's secret cannot be read now"));
            }
            self.hall.standing.learn(instance, accepted);
            refusals::count(Some(*tenant_id), because.into());
            return Err(Refusal::Credentials(because));
        }
        if !ticket.is_known {
            self.hall.standing.remember(instance, accepted, ticket.fingerprint);
        }
        if !self.rates.admits(*tenant_id, rate, self.began.elapsed()) {
            refusals::count(Some(*tenant_id), Reason::TooFast);
            return Err(Refusal::TooFast);
        }
        Ok(())
    }

    /// A batch failed: its events once more, in ever smaller parts, so that only those fail that fail
    /// alone.
    fn take_apart(&mut self, payloads: &[Payload], error: Error) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(payloads.len());
        self.blame(payloads, error, Instant::now() + TIME_TO_TAKE_APART, &mut answers);
        answers
    }

    fn blame(
        &mut self,
        payloads: &[Payload],
        error: Error,
        until: Instant,
        answers: &mut Vec<Answer>,
    ) {
        let blame = error.blame();
        if let (Blame::Event | Blame::Moment, [payload]) = (blame, payloads) {
            self.keep_apart(&payload.envelope.instance, &error);
            answers.push(Err(statuses::refusal(&error)));
            return;
        }
        let is_hopeless = blame == Blame::Server || Instant::now() >= until;
        if is_hopeless || !self.wait_for_tables() {
            self.say_failure(&error);
            let refusal = match statuses::refusal(&error) {
                // One of them was to blame, and nobody knows which.
                refusal if refusal.retry_after().is_none() => unknown_end(),
                refusal => refusal,
            };
            answers.extend(payloads.iter().map(|_| Err(refusal.clone())));
            return;
        }
        let (first, second) = payloads.split_at(payloads.len() / 2);
        for part in [first, second] {
            if Instant::now() >= until {
                answers.extend(part.iter().map(|_| Err(unknown_end())));
                continue;
            }
            match transaction(|| stored_well(intake::ingest_all(part, store_transaction::now()))) {
                Ok(outcomes) => answers.extend(outcomes.into_iter().map(answer_of)),
                Err(error) => self.blame(part, error, until, answers),
            }
        }
    }

    /// The next events of this tenant have transactions of their own for a while.
    fn keep_apart(&mut self, instance: &str, error: &Error) {
        let until = Instant::now() + APART;
        if self.apart.insert(instance.to_owned(), until).is_none() {
            let error = statuses::without_values(error);
            log!("whaply: a webhook of \"{instance}\" could not be stored: {error}");
        }
    }

    /// Once for each new trouble of a tenant.
    fn say_of_secrets(&mut self, tenant_id: i32, instance: &str, troubles: &[String]) {
        let said = self.said_of_secrets.insert(tenant_id, troubles.to_vec());
        if said.is_none_or(|said| said != troubles) {
            warning!("whaply: webhooks of \"{instance}\" wait: {}", troubles.join("; "));
        }
    }

    /// Once in a while: all posts fail, and more come.
    fn say_failure(&mut self, error: &Error) {
        let now = Instant::now();
        if self.silent_until.is_none_or(|until| until <= now) {
            self.silent_until = Some(now + APART);
            log!("whaply: webhooks could not be stored: {}", statuses::without_values(error));
        }
    }

    /// Whether the tables are there and free, perhaps after a moment.
    fn wait_for_tables(&self) -> bool {
        let until = Instant::now() + PATIENCE_WITH_LOCKS;
        loop {
            match transaction(|| extension::presence(None)) {
                Ok(Presence::Ready) => return true,
                Ok(Presence::Locked) if Instant::now() < until => std::thread::sleep(STEP),
                _ => return false,
            }
        }
    }

    /// Counts what was refused before it came here.
    pub fn count_turned_away(&mut self) {
        let turned_away = self.hall.queue.turned_away();
        if turned_away.is_empty() {
            return;
        }
        let instances: HashSet<&String> =
            turned_away.iter().filter_map(|one| one.instance.as_ref()).collect();
        let instances: Vec<String> = instances.into_iter().cloned().collect();
        // Counting is not worth an error.
        let posters = transaction(|| {
            let kept = tenants::accepted_credentials(&instances)?;
            Ok(self.posters.of(kept, Instant::now()))
        });
        let posters = posters.unwrap_or_default();
        for turned_away in turned_away {
            self.count(&turned_away, &posters);
        }
    }

    fn count(&mut self, turned_away: &TurnedAway, posters: &HashMap<String, Poster>) {
        let instance = turned_away.instance.as_deref();
        let poster = instance.and_then(|instance| posters.get(instance));
        let now = store_transaction::now();
        let require_secret = settings::require_secret();
        // Nobody may blacken another tenant.
        let tenant_id = poster.and_then(|Poster { tenant_id, accepted, .. }| {
            let checked = credentials::check(&turned_away.presented, accepted, require_secret, now);
            checked.is_ok().then_some(*tenant_id)
        });
        if !turned_away.is_too_large {
            return refusals::count(tenant_id, Reason::Invalid);
        }
        refusals::count(tenant_id, Reason::TooLarge);
        let whose = tenant_id.and(instance).unwrap_or_default();
        if self.said_too_large.insert(whose.to_owned()) {
            let whose = if whose.is_empty() { "an unknown instance" } else { whose };
            log!(
                "whaply: a webhook of {whose} is larger than whaply.max_body and was refused (said once): turn off \
                 the option base64 of its webhook in Evolution"
            );
        }
    }

    fn answer(&self, ticket: Ticket, answer: Answer) {
        // A commit that waits for a standby is cut short then, and says that all went well.
        let answer = if stopping::is_ending_at_once() { Err(unknown_end()) } else { answer };
        self.hall.metrics.done(&answer, ticket.arrived_at.elapsed());
        drop(ticket.place);
        // An error means that the client has gone: it will come again, and hear of a duplicate.
        let _ = ticket.answer.send(answer);
    }
}

/// What became of events in the transaction that is open, if that may be committed; then its commit waits
/// for the disk.
fn stored_well(told: Vec<Result<Outcome>>) -> Result<Vec<Result<Outcome>>> {
    let mut outcomes = Vec::with_capacity(told.len());
    for outcome in told {
        match outcome {
            // These have stored nothing. Whatever failed half-way must not be committed.
            Err(error @ (Error::UnknownInstance { .. } | Error::Refused(_))) => {
                outcomes.push(Err(error));
            }
            Err(error) => return Err(error),
            Ok(outcome) => {
                if let Some(due_at) = outcome.wakes_worker {
                    worker::wake_at_commit_for(due_at);
                }
                outcomes.push(Ok(outcome));
            }
        }
    }
    // Evolution does not repeat what was answered with 200: it must not be forgotten by a crash.
    store_transaction::force_synchronous_commit();
    Ok(outcomes)
}

fn answer_of(outcome: Result<Outcome>) -> Answer {
    outcome.map_err(|error| statuses::refusal(&error))
}

fn unknown_end() -> Refusal {
    Refusal::unavailable("the database cannot take it now")
}
