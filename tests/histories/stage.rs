//! Where histories are played, many at a time: one server with one database, one gateway and one
//! model. Each history gets two tenants of its own, and leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use support::scene::{SECRET_HEADER, base_url};
use support::{
    Cluster, ClusterOptions, Database, EvolutionOptions, FakeEvolution, FakeLlm, Instance,
    LlmBehaviour, Relay, RelayOptions, Webhook,
};

use super::step::{History, SHOPS, ShopSettings};
use super::watcher::Watcher;
use super::words::{Voice, words_in};
use super::world::{Shop, World};

/// How many histories are played at the same time. More would only slow each other down.
pub const PLAYERS: usize = 32;

/// A webhook that finds no connection waits, and all players deliver at once.
const WEBHOOKS_AT_ONCE: usize = 16;

/// How long everything that must come to an end may take, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

type Worlds = Arc<Mutex<BTreeMap<u64, Weak<World>>>>;

/// Dropped in this order: the database first, whose worker would otherwise call fakes that are gone.
pub struct Stage {
    pub watcher: Watcher,
    pub db: Database,
    relay: Relay,
    llm: FakeLlm,
    evolution: FakeEvolution,
    worlds: Worlds,
    _cluster: Cluster,
}

impl Stage {
    pub fn set() -> Self {
        let cluster = Cluster::start(options());
        let db = cluster.create_database("histories");
        let relay = RelayOptions { connections: WEBHOOKS_AT_ONCE, ..RelayOptions::default() };
        let relay = Relay::start_with(&db, relay);
        let llm = FakeLlm::start();
        let worlds = Worlds::default();
        let known = Arc::clone(&worlds);
        llm.decide(move |call| {
            let mark = words_in(&call.system_text()).into_iter().find(|w| w.voice == Voice::Mark);
            let world = mark.and_then(|mark| world_of(&known, mark.place.history));
            // Whose history is over must not be answered any more.
            world.map_or(LlmBehaviour::Hang, |world| world.take_prompt(call))
        });
        let evolution = FakeEvolution::start(EvolutionOptions::default());
        let watcher = Watcher::start(&db);
        Self { watcher, db, relay, llm, evolution, worlds, _cluster: cluster }
    }

    /// The two shops of a history, as tenants of this database.
    pub fn open(&self, client: &mut Client, number: u64, history: &History) -> Arc<World> {
        let shops =
            std::array::from_fn(|shop| self.open_shop(client, number, shop, &history.shops[shop]));
        let world = World::new(number, shops, history);
        let mut worlds = self.worlds.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.insert(number, Arc::downgrade(&world));
        world
    }

    fn open_shop(
        &self,
        client: &mut Client,
        number: u64,
        shop: usize,
        settings: &ShopSettings,
    ) -> Shop {
        let letter = ["a", "b"][shop];
        let instance = self.evolution.create_instance(&format!("shop-{number}-{letter}"));
        if !settings.keeps_records {
            instance.keep_no_records();
        }
        let fallback_text = format!("Um momento, por favor: ja voltamos (shop {number}{letter}).");
        let (tenant_id, secret) = self.insert_tenant(client, &instance, settings, &fallback_text);
        instance.set_webhook(Webhook::to(self.relay.url()).with_header(SECRET_HEADER, &secret));
        Shop { instance, tenant_id, fallback_text }
    }

    fn insert_tenant(
        &self,
        client: &mut Client,
        instance: &Instance,
        settings: &ShopSettings,
        fallback_text: &str,
    ) -> (i32, String) {
        let sql = "INSERT INTO whaply.tenants (instance_name, evo_server_url, evo_api_key, llm_provider,
                       llm_base_url, llm_model, llm_api_key, on_failure, on_uncertain, on_other_sender,
                       fallback_text, debounce, debounce_max, auto_resume_after, reply_expiry,
                       answers_per_chat, answers_per_tenant, answer_after_pause)
                   VALUES ($1, $2, $3, 'openai', $4, 'fake', 'key', $5, $6, $7, $8, '30 ms', '120 ms',
                       '1 hour', '10 minutes', 0, 0, $9)
                   RETURNING id, webhook_secret";
        let row = client.query_one(
            sql,
            &[
                &instance.name(),
                &self.evolution.url(),
                &instance.token(),
                &base_url("openai", &self.llm.url()),
                &settings.on_failure,
                &settings.on_uncertain,
                &settings.on_other_sender,
                &fallback_text,
                &settings.answer_after_pause,
            ],
        );
        let row = row.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
        (row.get(0), row.get(1))
    }

    /// Forgets a history: its tenants, with all that refers to them, and its instances.
    pub fn close(&self, client: &mut Client, world: &World) {
        self.worlds.lock().unwrap_or_else(PoisonError::into_inner).remove(&world.number);
        for shop in &world.shops {
            self.evolution.delete_instance(shop.instance.name());
            let deleted =
                client.execute("DELETE FROM whaply.tenants WHERE id = $1", &[&shop.tenant_id]);
            deleted.unwrap_or_else(|error| panic!("a tenant cannot be deleted: {error:?}"));
        }
    }

    /// Returns once everything that is on its way has been taken, and the worker has nothing to do
    /// for these shops; what is open after `PATIENCE` otherwise. A closed line keeps its work.
    pub fn wait_until_quiet(&self, world: &World) -> Result<(), String> {
        let started_at = Instant::now();
        let shops: [&Shop; SHOPS] = std::array::from_fn(|shop| &world.shops[shop]);
        loop {
            let delivered = || shops.iter().all(|shop| shop.instance.has_delivered_all());
            let was_delivered = delivered();
            let busy = self.watcher.look();
            let is_busy =
                |shop: &&&Shop| busy.contains(&shop.tenant_id) && shop.instance.is_connected();
            let waits_for: Vec<_> = shops.iter().filter(is_busy).map(|s| s.tenant_id).collect();
            if was_delivered && delivered() && waits_for.is_empty() {
                return Ok(());
            }
            if started_at.elapsed() > PATIENCE {
                return Err(format!(
                    "after {PATIENCE:?} the worker has open work for the tenants {waits_for:?}, \
                     or a webhook is on its way: {}",
                    !was_delivered
                ));
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// The world of a history that is being played.
fn world_of(worlds: &Worlds, history: u64) -> Option<Arc<World>> {
    worlds.lock().unwrap_or_else(PoisonError::into_inner).get(&history)?.upgrade()
}

/// All that waits does so for tens of milliseconds; what must not be guessed takes longer.
fn options() -> ClusterOptions {
    ClusterOptions::default()
        .with("whaply.retry_delay", "10ms")
        .with("whaply.settle_time", "250ms")
        // Long enough that a call which nobody holds up ends in time on a busy machine.
        .with("whaply.send_timeout", "1500ms")
        .with("whaply.llm_timeout", "10s")
        .with("whaply.line_check_interval", "50ms")
        .with("whaply.worker_threads", "64")
        // The hours that pass in a history are ended by hand.
        .with("whaply.maintenance_interval", "0")
        .with("synchronous_commit", "off")
        .with("deadlock_timeout", "200ms")
}
