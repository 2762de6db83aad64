//! Killing, each kind in its way, at a moment that is as random as the load, and bringing back what
//! was killed. It counts nothing.

use std::time::{Duration, Instant};

use fastrand::Rng;
use support::StopMode;
use support::worker::{wait_for_next_worker, wait_for_worker};

use crate::gateway::{Sight, up_to};
use crate::kinds::Kind;
use crate::load::let_pass;
use crate::stage::Stage;

/// The moment comes within this, whatever happens.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

const MOST_SIGHTS: usize = 4;
const LONGEST_HESITATION: u64 = 150;

/// Calls that lose their answer in one go.
const ANSWERS_LOST: usize = 3;

/// Evolution is back before five attempts to reach it have failed.
const LONGEST_OUTAGE: u64 = 600;

/// Waits for a random moment and strikes; when. Returns when all is back.
pub fn strike(kind: Kind, stage: &Stage, rng: &mut Rng) -> Instant {
    let worker = wait_for_worker(&stage.db);
    wait_for_a_moment(stage, rng);
    let now = Instant::now();
    let cluster = &stage.cluster;
    match kind {
        Kind::WorkerKilled => {
            cluster.kill_process(worker);
            cluster.wait_until_recovered();
        }
        Kind::WorkerTerminated => {
            assert!(stage.db.value::<bool>("SELECT pg_terminate_backend($1)", &[&worker]));
            wait_for_next_worker(&stage.db, worker);
        }
        Kind::PostmasterKilled => {
            cluster.kill_postmaster();
            cluster.restart();
        }
        Kind::ImmediateStop => {
            cluster.stop(StopMode::Immediate);
            cluster.restart();
        }
        Kind::FastStop => {
            cluster.stop(StopMode::Fast);
            cluster.restart();
        }
        Kind::EvolutionKilled => {
            stage.gateway.set_dying(true);
            stage.evolution.go_down();
            let_pass(up_to(LONGEST_OUTAGE, rng));
            stage.evolution.come_back();
            stage.gateway.set_dying(false);
        }
        Kind::AnswerCutMidBody | Kind::AnswerTooLate | Kind::FalseRefusal => {
            stage.gateway.lose_answers(kind, ANSWERS_LOST, LONGEST_WAIT);
        }
    }
    now
}

fn wait_for_a_moment(stage: &Stage, rng: &mut Rng) {
    let sights = [Sight::ModelCall, Sight::Send, Sight::SlowSend, Sight::SlowSend];
    let sight = sights[rng.usize(0..sights.len())];
    stage.gateway.wait_for(sight, rng.usize(1..=MOST_SIGHTS), LONGEST_WAIT);
    let_pass(up_to(LONGEST_HESITATION, rng));
}
