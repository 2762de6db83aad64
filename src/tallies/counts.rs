//! What is counted of one database since the server's start: how replies ended, the calls that the worker
//! made, their times and tokens. Atomics only, so that counting never waits, allocates or fails. Pure.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the times that are told apart, in seconds. A fast send takes tens of milliseconds, a
/// slow model minutes.
pub const BOUNDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyEnd {
    Sent,
    Drafted,
    Superseded,
    Cancelled,
    Failed,
}

impl ReplyEnd {
    pub const ALL: [Self; 5] =
        [Self::Sent, Self::Drafted, Self::Superseded, Self::Cancelled, Self::Failed];

    /// As it stands in `replies.state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Drafted => "drafted",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// A model is asked for an answer.
    Generate,
    /// Evolution is given a message.
    Send,
    /// Evolution is asked for something.
    Ask,
}

impl CallKind {
    pub const ALL: [Self; 3] = [Self::Generate, Self::Send, Self::Ask];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Send => "send",
            Self::Ask => "ask",
        }
    }
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    Done,
    Failed,
    /// The other side asked to wait.
    Deferred,
    /// Nobody knows whether it was done.
    Uncertain,
}

impl CallResult {
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Deferred, Self::Uncertain];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
            Self::Uncertain => "uncertain",
        }
    }
}

/// Shared by the processes of a server.
#[derive(Default)]
pub struct Counts {
    replies: [AtomicU64; ReplyEnd::ALL.len()],
    calls: [Calls; CallKind::ALL.len()],
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

#[derive(Default)]
struct Calls {
    in_flight: AtomicU64,
    results: [AtomicU64; CallResult::ALL.len()],
    /// By the bounds, and what took longer than the last.
    times: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// The counts as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// In the order of [`ReplyEnd::ALL`].
    pub replies: Vec<(ReplyEnd, u64)>,
    /// In the order of [`CallKind::ALL`].
    pub calls: Vec<(CallKind, CallReading)>,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallReading {
    pub in_flight: u64,
    pub results: Vec<(CallResult, u64)>,
    /// How many took up to each bound and longer than the one before; the last has none.
    pub times: Vec<u64>,
    pub seconds: f64,
}

impl Counts {
    pub fn replies_ended(&self, end: ReplyEnd, replies: u64) {
        add(self.replies.get(end as usize), replies);
    }

    pub fn call_ended(&self, kind: CallKind, result: CallResult, took: Duration) {
        let Some(calls) = self.calls.get(kind as usize) else { return };
        add(calls.results.get(result as usize), 1);
        let seconds = took.as_secs_f64();
        let bound = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        add(calls.times.get(bound), 1);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or_default();
        calls.microseconds.fetch_add(microseconds, Relaxed);
    }

    /// How many calls are under way at this moment.
    pub fn set_in_flight(&self, kind: CallKind, calls: usize) {
        if let Some(kind) = self.calls.get(kind as usize) {
            kind.in_flight.store(calls as u64, Relaxed);
        }
    }

    pub fn tokens(&self, input: u64, output: u64) {
        self.input_tokens.fetch_add(input, Relaxed);
        self.output_tokens.fetch_add(output, Relaxed);
    }

    pub fn read(&self) -> Reading {
        let replies = ReplyEnd::ALL.into_iter().zip(self.replies.iter().map(value)).collect();
        let calls = CallKind::ALL.into_iter().zip(self.calls.iter().map(Calls::read)).collect();
        let (input_tokens, output_tokens) = (value(&self.input_tokens), value(&self.output_tokens));
        Reading { replies, calls, input_tokens, output_tokens }
    }
}

impl Calls {
    fn read(&self) -> CallReading {
        CallReading {
            in_flight: value(&self.in_flight),
            results: CallResult::ALL.into_iter().zip(self.results.iter().map(value)).collect(),
            times: self.times.iter().map(value).collect(),
            seconds: value(&self.microseconds) as f64 / 1e6,
        }
    }
}

fn add(counter: Option<&AtomicU64>, count: u64) {
    if let Some(counter) = counter {
        counter.fetch_add(count, Relaxed);
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_under_its_own_name() {
        let counts = Counts::default();
        counts.replies_ended(ReplyEnd::Failed, 2);
        counts.set_in_flight(CallKind::Send, 3);
        counts.tokens(10, 4);
        counts.call_ended(CallKind::Generate, CallResult::Deferred, Duration::from_millis(1_500));
        let reading = counts.read();
        let failed = reading.replies.iter().find(|(end, _)| *end == ReplyEnd::Failed);
        assert_eq!(failed, Some(&(ReplyEnd::Failed, 2)));
        assert_eq!((reading.input_tokens, reading.output_tokens), (10, 4));
        let of = |kind| &reading.calls.iter().find(|(one, _)| *one == kind).unwrap().1;
        assert_eq!(of(CallKind::Send).in_flight, 3);
        let generated = of(CallKind::Generate);
        let deferred = generated.results.iter().find(|(one, _)| *one == CallResult::Deferred);
        assert_eq!(deferred, Some(&(CallResult::Deferred, 1)));
        assert_eq!(generated.seconds, 1.5);
    }

    #[test]
    fn a_time_counts_below_the_first_bound_that_holds_it() {
        let counts = Counts::default();
        for (milliseconds, place) in
            [(0, 0), (50, 0), (51, 1), (1_000, 4), (1_001, 5), (300_000, 11), (900_000, 12)]
        {
            let before = counts.read().calls[0].1.times[place];
            let took = Duration::from_millis(milliseconds);
            counts.call_ended(CallKind::Generate, CallResult::Done, took);
            assert_eq!(counts.read().calls[0].1.times[place], before + 1, "{milliseconds} ms");
        }
    }
}
