//! What is killed, and in which order. It kills nothing itself.

use fastrand::Rng;

/// One kind of blow. The first five end processes of the server; the others are Evolution's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL, after which the postmaster restarts every process.
    WorkerKilled,
    WorkerTerminated,
    PostmasterKilled,
    ImmediateStop,
    FastStop,
    /// Killed between taking messages and answering: connections are cut, echoes are lost.
    EvolutionKilled,
    AnswerCutMidBody,
    AnswerTooLate,
    /// A 400 "Connection Closed" of a message that went out.
    FalseRefusal,
}

impl Kind {
    pub const OF_SERVER: [Self; 5] = [
        Self::WorkerKilled,
        Self::WorkerTerminated,
        Self::PostmasterKilled,
        Self::ImmediateStop,
        Self::FastStop,
    ];
    pub const OF_EVOLUTION: [Self; 4] =
        [Self::EvolutionKilled, Self::AnswerCutMidBody, Self::AnswerTooLate, Self::FalseRefusal];

    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker, SIGKILL",
            Self::WorkerTerminated => "worker, pg_terminate_backend",
            Self::PostmasterKilled => "postmaster, SIGKILL",
            Self::ImmediateStop => "server, stop -m immediate",
            Self::FastStop => "server, stop -m fast",
            Self::EvolutionKilled => "Evolution, killed",
            Self::AnswerCutMidBody => "answer cut off mid-body",
            Self::AnswerTooLate => "answer never comes: timeout",
            Self::FalseRefusal => "400 of a message that went out",
        }
    }

    pub fn is_of_server(self) -> bool {
        Self::OF_SERVER.contains(&self)
    }
}

/// Blows between two counts: several on end, as recoveries that are interrupted are the worst.
const SERVER_KILLS_A_ROUND: usize = 4;

/// `kills` blows against the server, as many of each kind as of any other, in rounds of a few with
/// one against Evolution before them.
pub fn rounds(kills: usize, rng: &mut Rng) -> Vec<Vec<Kind>> {
    let server = shuffled(&Kind::OF_SERVER, kills, rng);
    let rounds = server.chunks(SERVER_KILLS_A_ROUND);
    let evolution = shuffled(&Kind::OF_EVOLUTION, rounds.len(), rng);
    evolution.iter().zip(rounds).map(|(first, rest)| [&[*first], rest].concat()).collect()
}

/// Each kind once before one comes again: a worker that dies over and over is not restarted at once.
fn shuffled(kinds: &[Kind], count: usize, rng: &mut Rng) -> Vec<Kind> {
    let mut drawn = Vec::new();
    while drawn.len() < count {
        let mut all = kinds.to_vec();
        rng.shuffle(&mut all);
        drawn.extend(all);
    }
    drawn.truncate(count);
    drawn
}
