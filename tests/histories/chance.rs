//! Makes histories from seeds, plays many at a time, and when one fails, plays it again alone and
//! looks for a shorter one that fails too.

use std::any::Any;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::invariants;
use super::ledger::Chat;
use super::play::play;
use super::stage::{PLAYERS, Stage};
use super::step::{CUSTOMERS, History, SHOPS, history};
use super::story;
use super::tables;
use super::world::World;

/// So many failures say enough; the rest is not played.
const ENOUGH_FAILURES: usize = 5;

/// A failure that needs a race shows itself only now and then.
const TIMES_ALONE: usize = 8;

/// How long shorter histories are tried.
const SHORTENING_LIMIT: Duration = Duration::from_secs(120);

/// Worlds of histories that are played again have numbers of their own.
static AGAIN: AtomicU64 = AtomicU64::new(1_000_000_000_000);

#[derive(Default)]
pub struct Played {
    pub histories: u64,
    pub steps: usize,
    pub questions: usize,
    pub answered: usize,
    pub sent: usize,
    pub failures: Vec<Failure>,
}

pub struct Failure {
    pub seed: u64,
    pub broken: Vec<String>,
    /// Everything that happened in the chats where something broke.
    pub story: String,
}

impl Played {
    pub fn add(&mut self, more: Self) {
        self.histories += more.histories;
        self.steps += more.steps;
        self.questions += more.questions;
        self.answered += more.answered;
        self.sent += more.sent;
        self.failures.extend(more.failures);
    }
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, steps, questions, answered, sent, .. } = self;
        write!(
            f,
            "{histories} histories, {steps} steps, {questions} questions, {answered} answered, \
             {sent} messages sent, {} failed",
            self.failures.len()
        )
    }
}

/// The histories of these seeds, many at a time.
pub fn play_all(stage: &Stage, first: u64, count: u64) -> Played {
    let next = AtomicU64::new(0);
    let all = Mutex::new(Played::default());
    let lock = || all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..PLAYERS.min(usize::try_from(count).unwrap_or(PLAYERS)) {
            scope.spawn(|| {
                let mut client = stage.db.connect();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || lock().failures.len() >= ENOUGH_FAILURES {
                        return;
                    }
                    let seed = first + number;
                    let played = play_one(stage, &mut client, seed, seed, &made_of(seed).current());
                    lock().add(played);
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The history of a seed, with the ways in which it can be made simpler.
fn made_of(seed: u64) -> impl ValueTree<Value = History> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    history().new_tree(&mut runner).expect("no history is rejected")
}

fn play_one(
    stage: &Stage,
    client: &mut Client,
    seed: u64,
    number: u64,
    history: &History,
) -> Played {
    let world = stage.open(client, number, history);
    let outcome = catch_unwind(AssertUnwindSafe(|| play(stage, client, &world, &history.steps)));
    let mut broken: Vec<String> = match outcome {
        Ok(Ok(())) => Vec::new(),
        Ok(Err(why)) => vec![why],
        Err(panic) => vec![words_of(panic.as_ref())],
    };
    let chats = look_at(client, &world, history, &mut broken);
    broken.extend(chats.iter().flat_map(invariants::broken));
    for (shop, number) in world.shops.iter().zip(0..) {
        let Some((chat, what)) = stage.watcher.two_voices(shop.tenant_id) else { continue };
        let place = world.place(number, World::customer_of(&chat).unwrap_or_default());
        broken.push(format!("{place} breaks one_voice: {what}"));
    }
    stage.close(client, &world);
    let answered =
        |chat: &Chat| chat.rows.events.iter().filter(|event| event.action == "ai_replied").count();
    let failure = || Failure { seed, story: story_of(&chats, &broken), broken: broken.clone() };
    Played {
        histories: 1,
        steps: history.steps.len(),
        questions: chats.iter().map(|chat| chat.questions().count()).sum(),
        answered: chats.iter().map(answered).sum(),
        sent: chats.iter().map(|chat| chat.sent.len()).sum(),
        failures: if broken.is_empty() { Vec::new() } else { vec![failure()] },
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// The ledgers of all chats, shop by shop.
fn look_at(
    client: &mut Client,
    world: &World,
    history: &History,
    broken: &mut Vec<String>,
) -> Vec<Chat> {
    let mut all = Vec::new();
    for shop in 0..SHOPS {
        let ledger = |customer| world.ledger(world.place(shop, customer), &history.shops[shop]);
        let mut chats: Vec<Chat> = (0..CUSTOMERS).map(ledger).collect();
        if let Err(why) = tables::fill_in(client, world.shops[shop].tenant_id, &mut chats) {
            broken.push(why);
        }
        all.extend(chats);
    }
    all
}

/// What happened in the chats in which something broke.
fn story_of(chats: &[Chat], broken: &[String]) -> String {
    let is_told = |chat: &&Chat| broken.iter().any(|why| why.starts_with(&chat.place.to_string()));
    let stories: Vec<String> = chats.iter().filter(is_told).map(story::of).collect();
    stories.join("\n\n")
}

/// What a person needs to know of the failures, the first of them made as short as it gets.
pub fn report(stage: &Stage, played: &Played) -> String {
    let mut client = stage.db.connect();
    let mut text = format!("{played}\n");
    for failure in &played.failures {
        let _ =
            writeln!(text, "\nWHAPLY_TEST_SEED={} WHAPLY_HISTORIES=1 plays it alone", failure.seed);
        for why in &failure.broken {
            let _ = writeln!(text, "  {why}");
        }
        let _ = writeln!(text, "{}\n{}", made_of(failure.seed).current(), failure.story);
    }
    if let Some(first) = played.failures.first() {
        let _ = writeln!(text, "{}", shortened(stage, &mut client, first));
    }
    text
}

/// Plays a failed history again, alone, and looks for shorter ones that fail as well.
fn shortened(stage: &Stage, client: &mut Client, failure: &Failure) -> String {
    let mut tree = made_of(failure.seed);
    let mut fails = |history: &History| {
        let numbers = std::iter::repeat_with(|| AGAIN.fetch_add(1, Ordering::Relaxed));
        let mut runs = numbers.take(TIMES_ALONE);
        runs.find_map(|number| {
            play_one(stage, client, failure.seed, number, history).failures.pop()
        })
    };
    let Some(mut last) = fails(&tree.current()) else {
        return format!(
            "Alone, the first did not fail in {TIMES_ALONE} runs: it needs the others' load."
        );
    };
    let mut shortest = tree.current();
    let started_at = Instant::now();
    while started_at.elapsed() < SHORTENING_LIMIT && tree.simplify() {
        let shorter = tree.current();
        match fails(&shorter) {
            Some(failure) => (last, shortest) = (failure, shorter),
            None => {
                if !tree.complicate() {
                    break;
                }
            }
        }
    }
    format!("The shortest found that fails:\n{shortest}{}\n{}", last.broken.join("\n"), last.story)
}
