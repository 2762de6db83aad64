//! The calls that are under way, by what they are for; and what is told of each that has ended to whoever
//! watches the server. It knows no chat and no text.

use std::time::Duration;

use super::jobs::{Done, Job};
use crate::evolution::{NotSentClass, SendOutcome};
use crate::llm::{Answer, Failure, FailureClass};
use crate::tallies::{self, CallKind, CallResult};

/// How many calls of each kind are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    pub to_models: usize,
    pub sends: usize,
    pub questions: usize,
}

impl UnderWay {
    pub fn begin(&mut self, job: &Job) {
        let kind = kind_of(job);
        *self.of(kind) += 1;
        self.tell(kind);
    }

    /// A call has ended that took so long, or was never made.
    pub fn end(&mut self, done: &Done, took: Duration) {
        let (kind, result) = outcome(done);
        let calls = self.of(kind);
        *calls = calls.saturating_sub(1);
        self.tell(kind);
        let (Some(counts), Some(result)) = (tallies::of_this_database(), result) else { return };
        counts.call_ended(kind, result, took);
        if let Done::Generated { result: Ok(answer), .. } = done {
            let (input, output) = tokens(answer);
            counts.tokens(input, output);
        }
    }

    pub fn all(&self) -> usize {
        self.to_models + self.sends + self.questions
    }

    fn of(&mut self, kind: CallKind) -> &mut usize {
        match kind {
            CallKind::Generate => &mut self.to_models,
            CallKind::Send => &mut self.sends,
            CallKind::Ask => &mut self.questions,
        }
    }

    fn tell(&mut self, kind: CallKind) {
        if let Some(counts) = tallies::of_this_database() {
            counts.set_in_flight(kind, *self.of(kind));
        }
    }
}

/// Whatever a worker of before had under way has gone with it.
pub fn nothing_is_under_way() {
    if let Some(counts) = tallies::of_this_database() {
        for kind in CallKind::ALL {
            counts.set_in_flight(kind, 0);
        }
    }
}

fn kind_of(job: &Job) -> CallKind {
    match job {
        Job::Generate { .. } => CallKind::Generate,
        Job::Send { .. } => CallKind::Send,
        Job::LookUp { .. } | Job::AskLine { .. } | Job::SetUp { .. } => CallKind::Ask,
    }
}

/// No result: the call was not made.
fn outcome(done: &Done) -> (CallKind, Option<CallResult>) {
    match done {
        Done::Generated { result, .. } => (CallKind::Generate, Some(of_generation(result))),
        Done::Sent { outcome, .. } => (CallKind::Send, Some(of_send(outcome))),
        Done::NotStarted { .. } => (CallKind::Send, None),
        Done::LookedUp { result, .. } => (CallKind::Ask, Some(of_question(result))),
        Done::Line { result, .. } => (CallKind::Ask, Some(of_question(result))),
        Done::SetUp { set_up, .. } => (CallKind::Ask, Some(of_question(&set_up.line))),
    }
}

fn of_generation(result: &Result<Answer, Failure>) -> CallResult {
    match result {
        Ok(_) => CallResult::Done,
        Err(failure) if failure.class == FailureClass::Deferred => CallResult::Deferred,
        Err(_) => CallResult::Failed,
    }
}

fn of_send(outcome: &SendOutcome) -> CallResult {
    match outcome {
        SendOutcome::Sent(_) => CallResult::Done,
        SendOutcome::NotSent(refusal) if refusal.class == NotSentClass::Deferred => {
            CallResult::Deferred
        }
        SendOutcome::NotSent(_) => CallResult::Failed,
        SendOutcome::Uncertain(_) => CallResult::Uncertain,
    }
}

fn of_question<T, E>(result: &Result<T, E>) -> CallResult {
    if result.is_ok() { CallResult::Done } else { CallResult::Failed }
}

fn tokens(answer: &Answer) -> (u64, u64) {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| tokens.try_into().ok()).unwrap_or(0);
    (count(answer.input_tokens), count(answer.output_tokens))
}
