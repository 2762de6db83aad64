//! Rows replies, wakeup and memory: the worker's figures as lines of the table.

use std::time::Duration;

use anyhow::Result;

use crate::line::{Line, Target};
use crate::options::{Options, Row};
use crate::series::Spread;
use crate::{memory, replies, wakeup};

const QUESTIONS: usize = 200;
const QUICK_QUESTIONS: usize = 20;

pub fn replies(options: &Options) -> Result<Vec<(Row, Line)>> {
    let measured = replies::measure(options.pairs);
    for round in [&measured.cold].into_iter().chain(&measured.warm) {
        tell(round);
    }
    let ratio = |round: &replies::Round| round.ratio();
    let warm = Spread::of(measured.warm.iter().map(ratio).collect())?;
    let last = |round: &replies::Round| round.last_answer.as_secs_f64();
    let took = Spread::of(measured.warm.iter().map(last).collect())?;
    let path = Spread::of(vec![(replies::MODEL + replies::GATEWAY).as_secs_f64()])?;
    let peer = ("the longest single path", path, " s");
    let target = Target::at_most(1.6).aim(1.25);
    let line =
        Line::ratio("1,000 replies: last answer at the gateway", (took, " s"), peer, warm, target);
    let cold = format!("{:.2} ×", measured.cold.ratio());
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let first = Line::reported(
        "the same, the first after the worker's start",
        seconds(measured.cold.last_answer),
        "the longest single path: 1.10 s".to_owned(),
        cold,
    );
    Ok(vec![(Row::Replies, line), (Row::Replies, first)])
}

/// Where the time went: claims, threads, sends.
fn tell(round: &replies::Round) {
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    eprintln!(
        "  at the model {} to {} s, at the gateway {} to {} s, last answer {} s",
        seconds(round.first_at_model),
        seconds(round.last_at_model),
        seconds(round.first_at_gateway),
        seconds(round.last_at_gateway),
        seconds(round.last_answer)
    );
}

pub fn wakeup(options: &Options) -> Result<Vec<(Row, Line)>> {
    let questions = if options.quick { QUICK_QUESTIONS } else { QUESTIONS };
    let measured = wakeup::measure(questions);
    let (latency, returned) = (measured.from_commit_sent, measured.from_commit_returned);
    eprintln!(
        "  from the return of COMMIT: p50 {:.2} ms, p99 {:.2} ms",
        returned.p50, returned.p99
    );
    let lines =
        [("p50", latency.p50, 5.0), ("p99", latency.p99, 25.0)].map(|(which, ms, bound)| {
            let what = format!("commit of ingest to the first byte at the model, idle, {which}");
            let target = Target::at_most(bound);
            Ok((Row::Wakeup, Line::bounded(&what, Spread::of(vec![ms])?, " ms", target)))
        });
    lines.into_iter().collect()
}

pub fn memory() -> Result<Vec<(Row, Line)>> {
    let measured = memory::measure();
    eprintln!("  at rest again: {:.1} MiB", measured.afterwards.all);
    let lines = [
        ("worker's resident memory at rest", measured.at_rest, 40.0),
        ("worker's resident memory, 1,000 in flight over plain HTTP", measured.in_flight, 150.0),
    ];
    let lines = lines.map(|(what, resident, bound)| {
        let mut line =
            Line::bounded(what, Spread::of(vec![resident.all])?, " MiB", Target::at_most(bound));
        line.against = format!("of it its own: {:.1} MiB", resident.own);
        Ok((Row::Memory, line))
    });
    lines.into_iter().collect()
}
