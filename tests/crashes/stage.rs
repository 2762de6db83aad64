//! What the blows fall on: a server of its own, several shops with many chats, one Evolution, one
//! model. It asks and kills nothing.

use std::thread;
use std::time::Duration;

use support::relay::RelayOptions;
use support::scene::{base_url, columns_of_model, insert_tenant, webhook_of};
use support::{
    Cluster, ClusterOptions, Database, EvolutionOptions, FakeEvolution, FakeLlm, Instance,
    ModelServer, PATIENCE, Person, Relay, wait_until, writers,
};

use crate::gateway::Gateway;
use crate::load::Asked;

const SHOPS: usize = 3;
const CHATS_A_SHOP: usize = 6;

/// How long the worker may take to finish what a round has left behind.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// How much of the server's log a failure shows.
const LOG_LINES: usize = 300;

/// Evolution's retries last 1215 s; so scaled, they outlast every restart of a busy machine.
const RETRY_SCALE: f64 = 0.02;

/// A tenant, with the people who write to it.
pub struct Shop {
    pub tenant_id: i32,
    pub instance: Instance,
    pub customers: Vec<Person>,
}

/// Dropped in this order: the database first, whose worker calls the fakes; the server last.
pub struct Stage {
    pub db: Database,
    _relay: Relay,
    _model: FakeLlm,
    pub shops: Vec<Shop>,
    pub evolution: FakeEvolution,
    pub gateway: Gateway,
    pub cluster: Cluster,
}

impl Stage {
    pub fn start(gateway: Gateway) -> Self {
        let cluster = start_cluster();
        let db = cluster.create_database("crashes");
        writers::watch(&db);
        let relay = Relay::start_with(&db, RelayOptions::default());
        let model = FakeLlm::start();
        let retrying = EvolutionOptions { retry_scale: RETRY_SCALE, ..EvolutionOptions::default() };
        let evolution = FakeEvolution::start(retrying);
        let open = |number| open_shop(number, &db, &relay, &model, &evolution);
        let shops: Vec<Shop> = (1..=SHOPS).map(open).collect();
        shops.iter().for_each(|shop| gateway.rule(&shop.instance));
        gateway.rule_model(&model);
        Self { db, _relay: relay, _model: model, shops, evolution, gateway, cluster }
    }

    /// What `synchronous_commit` is for sessions that begin from here on.
    pub fn set_synchronous_commit(&self, value: &str) {
        let name = self.db.name();
        self.db.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = {value}"));
    }

    /// Waits until every webhook was taken and nothing is open; false if something stays open.
    pub fn settle(&self, asked: &Asked) -> bool {
        for said in asked.webhooks() {
            said.clone().delivered();
        }
        let is_idle = self.is_idle();
        wait_until("the last echoes to be taken", PATIENCE, || {
            self.shops.iter().all(|shop| shop.instance.has_delivered_all())
        });
        is_idle && self.is_idle()
    }

    /// The owners give their chats back.
    pub fn resume_all(&self) {
        for shop in &self.shops {
            let sql = "SELECT whaply.resume_sessions($1, 'human_takeover')";
            let _: i64 = self.db.value(sql, &[&shop.instance.name()]);
        }
    }

    fn is_idle(&self) -> bool {
        let sql = "SELECT whaply.wait_until_idle(make_interval(secs => $1))";
        self.db.value(sql, &[&IDLE_LIMIT.as_secs_f64()])
    }
}

/// What no seed brings back: what the server said.
impl Drop for Stage {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.cluster.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(LOG_LINES);
            eprintln!("The end of the server's log:\n{}", lines[last..].join("\n"));
        }
    }
}

fn start_cluster() -> Cluster {
    let options = ClusterOptions::default()
        .in_a_hurry()
        .with("whaply.send_timeout", "2s")
        .with("whaply.settle_time", "400ms")
        // Evolution is down for a moment: five attempts must outlast it.
        .with("whaply.retry_delay", "200ms")
        // Customers who never stop asking are the point here.
        .with("whaply.answers_per_chat", "0")
        .with("whaply.answers_per_tenant", "0");
    Cluster::start(options)
}

fn open_shop(
    number: usize,
    db: &Database,
    relay: &Relay,
    model: &FakeLlm,
    evolution: &FakeEvolution,
) -> Shop {
    let instance = evolution.create_instance(&format!("shop-{number}"));
    let provider = if number.is_multiple_of(2) { "anthropic" } else { "openai" };
    let server = ModelServer::At {
        url: base_url(provider, &model.url()),
        model: "fake-model".to_owned(),
        key: Some("key-of-the-tenant".to_owned()),
    };
    let columns = [
        ("instance_name", instance.name()),
        ("evo_server_url", &evolution.url()),
        ("evo_api_key", instance.token()),
        ("debounce", "60 ms"),
        ("debounce_max", "200 ms"),
        // A message that is held must not silence its chat for the rest of the test.
        ("on_failure", "none"),
    ];
    let mut columns: Vec<_> =
        columns.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    columns.extend(columns_of_model(provider, &server));
    let tenant_id = insert_tenant(db, &columns);
    instance.set_webhook(webhook_of(db, tenant_id, &relay.url()));
    Shop { tenant_id, instance, customers: (1..=CHATS_A_SHOP).map(customer).collect() }
}

/// Every other one is addressed by LID. The same people write to every shop.
fn customer(number: usize) -> Person {
    let person = Person::with_phone(&format!("551199999000{number}"))
        .and_lid(&format!("10000000000000{number}"));
    if number.is_multiple_of(2) { person.by_lid() } else { person }
}
