//! The crash test: under load, processes of the server and Evolution are killed at random moments,
//! again and again. Afterwards every question has its one answer, at Evolution once, and no chat that
//! the owner took over has heard a word since. `WHAPLY_KILLS` says how often the server is struck,
//! `WHAPLY_TEST_SEED` what chance decides by (the timing of the machine is not part of it).

mod blow;
mod count;
mod gateway;
mod kinds;
mod load;
mod stage;
mod table;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, thread};

use fastrand::Rng;

use gateway::Gateway;
use kinds::Kind;
use load::{Asked, People};
use stage::Stage;
use table::Table;

/// Enough for each kind to come several times, and few enough for every `make test`.
const KILLS: usize = 20;

#[test]
fn nothing_is_lost_doubled_or_stuck_whatever_is_killed() {
    let kills = number_of("WHAPLY_KILLS").map_or(KILLS, |kills| kills as usize);
    let seed = number_of("WHAPLY_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    tell(&format!("crashes: {kills} kills of the server, WHAPLY_TEST_SEED={seed}\n"));
    let mut rng = Rng::with_seed(seed);
    let stage = Stage::start(Gateway::new(rng.fork()));
    let mut people = People::new(&stage, rng.fork());
    let mut result = Outcome::default();
    for (number, kinds) in kinds::rounds(kills, &mut rng).into_iter().enumerate() {
        // What a session does is settled when it begins: the round's first kill makes it act.
        stage.set_synchronous_commit(if number % 2 == 0 { "off" } else { "on" });
        let asked = result.strike(&kinds, &stage, &mut people, &mut rng);
        let is_idle = stage.settle(&asked);
        result.defects.extend(count::count(&stage, &asked, is_idle, &mut result.table));
        stage.resume_all();
    }
    tell(&result.summary());
    assert!(result.defects.is_empty(), "seed {seed}:\n{}", result.defects.join("\n\n"));
    let total = result.table.total();
    assert_eq!(support::writers::roles_of_processes(&stage.db), ["whaply_worker"]);
    assert_eq!((total.lost, total.doubled, total.after_takeover, total.stuck), (0, 0, 0, 0));
}

#[derive(Default)]
struct Outcome {
    table: Table,
    defects: Vec<String>,
    /// Messages that Evolution took when the process that had sent them was dead.
    taken_after_death: usize,
}

impl Outcome {
    /// One blow after the other, while people write.
    fn strike(
        &mut self,
        kinds: &[Kind],
        stage: &Stage,
        people: &mut People<'_>,
        rng: &mut Rng,
    ) -> Asked {
        let mut asked = Asked::default();
        for &kind in kinds {
            let is_over = AtomicBool::new(false);
            let struck_at = thread::scope(|scope| {
                let writing = scope.spawn(|| people.write(kind, &is_over));
                let struck_at = blow::strike(kind, stage, rng);
                is_over.store(true, Ordering::Relaxed);
                asked.extend(writing.join().expect("people do not fail"));
                struck_at
            });
            self.table.of(kind).kills += 1;
            if kind.is_of_server() {
                self.taken_after_death += stage.gateway.taken_after(struck_at);
            }
        }
        asked
    }

    fn summary(&self) -> String {
        format!(
            "{}{} messages were taken by Evolution when the process that sent them was dead.\n",
            self.table, self.taken_after_death
        )
    }
}

fn number_of(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}

/// Past the test harness, which keeps what a test that passes prints.
fn tell(text: &str) {
    let mut out = io::stdout().lock();
    let told = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    told.expect("standard output can be written");
}
