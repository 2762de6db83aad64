//! From the commit of a customer's message to the first byte at the model, with the server idle and
//! no debounce. Two clocks are read in one process, so that no clocks are compared.

use std::thread;
use std::time::Duration;

use crate::light_server::{LightServer, Role};
use crate::shop::Shops;

/// Between two questions the worker goes to sleep.
const REST: Duration = Duration::from_millis(30);

/// Milliseconds, over all questions.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
}

pub struct Wakeup {
    /// From the sending of COMMIT: with the client's round trip and the flush of its commit.
    pub from_commit_sent: Latency,
    /// From its return. The worker may be faster than the client is told: then it counts as 0.
    pub from_commit_returned: Latency,
}

pub fn measure(questions: usize) -> Wakeup {
    let model = LightServer::start(Role::Model, Duration::ZERO);
    let gateway = LightServer::start(Role::Gateway, Duration::ZERO);
    let mut shops = Shops::start(1, 1, &model, &gateway);
    let (mut sent, mut returned) = (Vec::new(), Vec::new());
    for question in 0..questions + 5 {
        model.forget();
        gateway.forget();
        let (commit_sent, commit_returned) = shops.all_ask();
        shops.wait_for_answers(&gateway, 1);
        thread::sleep(REST);
        let Some(first) = model.arrivals().first().copied() else { continue };
        // The first ones make threads and plans.
        if question >= 5 {
            sent.push(first - commit_sent);
            returned.push(first.saturating_duration_since(commit_returned));
        }
    }
    Wakeup { from_commit_sent: latency(sent), from_commit_returned: latency(returned) }
}

fn latency(mut times: Vec<Duration>) -> Latency {
    times.sort();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1);
        let index = ((times.len() as f64 * share) as usize).min(last);
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Latency { p50: at(0.50), p99: at(0.99) }
}
