//! What the blows came to, kind by kind, for people to read.

use std::collections::BTreeMap;
use std::fmt;

use crate::kinds::Kind;

/// What became of the questions that were asked before the blows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub kills: usize,
    pub asked: usize,
    pub answered_once: usize,
    /// The owner had taken the chat over.
    pub left_to_owner: usize,
    /// Evolution kept neither record nor echo of the answer.
    pub held: usize,
    pub lost: usize,
    pub doubled: usize,
    pub after_takeover: usize,
    pub stuck: usize,
}

impl Tally {
    fn columns(&self) -> [usize; 9] {
        [
            self.kills,
            self.asked,
            self.answered_once,
            self.left_to_owner,
            self.held,
            self.lost,
            self.doubled,
            self.after_takeover,
            self.stuck,
        ]
    }

    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.asked += other.asked;
        self.answered_once += other.answered_once;
        self.left_to_owner += other.left_to_owner;
        self.held += other.held;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.after_takeover += other.after_takeover;
        self.stuck += other.stuck;
    }
}

#[derive(Default)]
pub struct Table {
    kinds: BTreeMap<Kind, Tally>,
}

const HEADS: [&str; 9] = [
    "kills",
    "questions asked",
    "answered once",
    "left to the owner",
    "held for a person",
    "lost",
    "doubled",
    "after takeover",
    "stuck",
];

impl Table {
    pub fn of(&mut self, kind: Kind) -> &mut Tally {
        self.kinds.entry(kind).or_default()
    }

    pub fn total(&self) -> Tally {
        self.kinds.values().fold(Tally::default(), |mut total, tally| {
            total.add(tally);
            total
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<30} | {}", "kind", HEADS.join(" | "))?;
        let rows = self.kinds.iter().map(|(kind, tally)| (kind.name(), *tally));
        for (name, tally) in rows.chain([("all", self.total())]) {
            write!(out, "{name:<30}")?;
            for (head, number) in HEADS.iter().zip(tally.columns()) {
                write!(out, " | {number:>width$}", width = head.len())?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
