//! Resident memory of the worker's process: at rest after its start, with 1,000 calls to the model
//! in flight over plain HTTP, and at rest again.

use std::thread;
use std::time::{Duration, Instant};

use support::wait_until;
use support::worker::{resident_kib, wait_for_worker};

use crate::light_server::{LightServer, Role};
use crate::shop::Shops;

/// Long enough that all calls are in flight at once.
const MODEL: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(60);
const TENANTS: usize = 10;
const CHATS_OF_A_TENANT: usize = 100;

/// In MiB.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// All of it: PostgreSQL's shared buffers as far as the process has touched them, and its code.
    pub all: f64,
    /// The process's own memory.
    pub own: f64,
}

pub struct Memory {
    pub at_rest: Resident,
    /// The most that was seen until the last answer had been written.
    pub in_flight: Resident,
    pub afterwards: Resident,
}

pub fn measure() -> Memory {
    let model = LightServer::start(Role::Model, MODEL);
    let gateway = LightServer::start(Role::Gateway, Duration::from_millis(100));
    let mut shops = Shops::start(TENANTS, CHATS_OF_A_TENANT, &model, &gateway);
    let worker = wait_for_worker(&shops.db);
    let at_rest = resident(worker);
    shops.all_ask();
    let all = TENANTS * CHATS_OF_A_TENANT;
    let mut most = at_rest;
    let begin = Instant::now();
    while gateway.answers().len() < all && begin.elapsed() < LIMIT {
        let now = resident(worker);
        most = Resident { all: most.all.max(now.all), own: most.own.max(now.own) };
        thread::sleep(Duration::from_millis(20));
    }
    shops.wait_for_answers(&gateway, all);
    wait_until("the worker to rest", LIMIT, || model.arrivals().len() == all);
    Memory { at_rest, in_flight: most, afterwards: resident(worker) }
}

fn resident(worker: i32) -> Resident {
    let (all, own) = resident_kib(worker);
    Resident { all: all as f64 / 1024.0, own: own as f64 / 1024.0 }
}
