//! A ready-made scene: a database with whaply, a fake Evolution with one shop, a fake LLM, a tenant
//! that connects them, and the relay as its webhook. It plays nothing by itself.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::database::Database;
use crate::evolution::{EvolutionOptions, FakeEvolution, Instance, Webhook};
use crate::gate::Gate;
use crate::llm::{FakeLlm, LlmOptions};
use crate::person::Person;
use crate::relay::{Relay, RelayOptions};
use crate::rows::PATIENCE;

/// Long enough to catch messages that a test posts one after the other, short enough not to be felt.
const SHORT_DEBOUNCE: &str = "200 ms";

/// The header that carries a tenant's secret.
pub const SECRET_HEADER: &str = "x-whaply-secret";

/// Which model answers for the tenant.
#[derive(Clone, Debug, Default)]
pub enum ModelServer {
    /// The scene's own fake, which takes some key.
    #[default]
    Fake,
    /// As for a tenant with its own server: with or without `/v1` for anthropic, with it for openai.
    At { url: String, model: String, key: Option<String> },
    /// The tenant names none: the server's settings say where it is, and where its key is.
    OfSettings,
}

/// What a scene is made with. `SceneOptions::default().with("mode", "draft")` is the usual scene
/// but for one column.
#[derive(Clone, Debug)]
pub struct SceneOptions {
    /// `anthropic` or `openai`.
    pub provider: String,
    pub model: ModelServer,
    /// Columns of `tenants`, as text that PostgreSQL can read. They override the scene's own.
    pub columns: Vec<(String, String)>,
    pub instance: String,
    pub evolution: EvolutionOptions,
    pub llm: LlmOptions,
    pub relay: RelayOptions,
}

impl Default for SceneOptions {
    fn default() -> Self {
        Self {
            provider: "openai".to_owned(),
            model: ModelServer::default(),
            columns: Vec::new(),
            instance: "loja-demo".to_owned(),
            evolution: EvolutionOptions::default(),
            llm: LlmOptions::default(),
            relay: RelayOptions::default(),
        }
    }
}

impl SceneOptions {
    pub fn anthropic() -> Self {
        Self { provider: "anthropic".to_owned(), ..Self::default() }
    }

    pub fn model(self, model: ModelServer) -> Self {
        Self { model, ..self }
    }

    /// A column of the tenant, e.g. `("debounce_max", "1 s")` or `("test_chats", "{5511999990001}")`.
    pub fn with(mut self, column: &str, value: &str) -> Self {
        self.columns.push((column.to_owned(), value.to_owned()));
        self
    }
}

/// Dropped in this order: the database first, whose worker would otherwise call fakes that are gone.
pub struct Scene {
    pub db: Database,
    pub relay: Relay,
    pub llm: FakeLlm,
    pub evolution: FakeEvolution,
    /// The tenant's WhatsApp number; its webhook goes to `relay`.
    pub shop: Instance,
    pub tenant_id: i32,
}

impl Scene {
    /// In a database of its own, whose name begins with `prefix`.
    #[track_caller]
    pub fn start(cluster: &Cluster, prefix: &str) -> Self {
        Self::start_with(cluster, prefix, SceneOptions::default())
    }

    #[track_caller]
    pub fn start_with(cluster: &Cluster, prefix: &str, options: SceneOptions) -> Self {
        Self::start_in(cluster.create_database(prefix), options)
    }

    /// In a database that has whaply, of whatever version.
    #[track_caller]
    pub fn start_in(db: Database, options: SceneOptions) -> Self {
        let relay = Relay::start_with(&db, options.relay);
        let llm = FakeLlm::start_with(options.llm);
        let evolution = FakeEvolution::start(options.evolution);
        let shop = evolution.create_instance(&options.instance);
        let mut columns = columns_of_line(&shop, &evolution);
        let model = match options.model {
            ModelServer::Fake => fake_server(&options.provider, &llm),
            chosen => chosen,
        };
        columns.extend(columns_of_model(&options.provider, &model));
        columns.push(("debounce".to_owned(), SHORT_DEBOUNCE.to_owned()));
        columns.extend(options.columns);
        let tenant_id = insert_tenant(&db, &columns);
        shop.set_webhook(webhook_of(&db, tenant_id, &relay.url()));
        Self { db, relay, llm, evolution, shop, tenant_id }
    }

    /// Returns once the worker has nothing open.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        let sql = "SELECT whaply.wait_until_idle(make_interval(secs => $1))";
        let idle: bool = self.db.value(sql, &[&PATIENCE.as_secs_f64()]);
        assert!(idle, "the worker still has something open: {}", self.open_work());
    }

    /// Maria asks: the model is at work on the answer, and ends when the gate is released.
    #[track_caller]
    pub fn ask_and_hold(&self, question: &str) -> Gate {
        let generating = self.llm.hold();
        self.shop.customer_says(Person::maria(), question).delivered();
        generating.wait_until_reached(PATIENCE);
        generating
    }

    /// `processed_events.action_taken` of a message's arrival; None if there is no such row.
    #[track_caller]
    pub fn action(&self, message_id: &str) -> Option<String> {
        let sql = "SELECT action_taken FROM whaply.processed_events
                    WHERE tenant_id = $1 AND message_id = $2
                      AND event_type IN ('messages.upsert', 'send.message')";
        self.db.column(sql, &[&self.tenant_id, &message_id]).into_iter().next()
    }

    fn open_work(&self) -> Value {
        let sql = "SELECT coalesce(jsonb_agg(to_jsonb(q)), '[]') FROM whaply.reply_queue q";
        self.db.value(sql, &[])
    }
}

/// A column of `tenants` and its value as text.
pub type Column = (String, String);

/// Inserts a tenant and returns its id. Of a column given twice the later value counts.
#[track_caller]
pub fn insert_tenant(db: &Database, columns: &[Column]) -> i32 {
    let mut chosen: Vec<&Column> = Vec::new();
    for column in columns {
        chosen.retain(|(name, _)| *name != column.0);
        chosen.push(column);
    }
    let names: Vec<&str> = chosen.iter().map(|(name, _)| name.as_str()).collect();
    // Literals, not parameters, so that text becomes the column's own type.
    let values: Vec<String> =
        chosen.iter().map(|(_, value)| format!("'{}'", value.replace('\'', "''"))).collect();
    let (names, values) = (names.join(", "), values.join(", "));
    db.value(&format!("INSERT INTO whaply.tenants ({names}) VALUES ({values}) RETURNING id"), &[])
}

/// The webhook that Evolution must have for this tenant, with its secret, for every event.
#[track_caller]
pub fn webhook_of(db: &Database, tenant_id: i32, url: &str) -> Webhook {
    let sql = "SELECT webhook_secret FROM whaply.tenants WHERE id = $1";
    let secret: Option<String> = db.value(sql, &[&tenant_id]);
    match secret {
        Some(secret) => Webhook::to(url).with_header(SECRET_HEADER, &secret),
        None => Webhook::to(url),
    }
}

fn columns_of_line(shop: &Instance, evolution: &FakeEvolution) -> Vec<Column> {
    let columns = [
        ("instance_name", shop.name().to_owned()),
        ("evo_server_url", evolution.url()),
        ("evo_api_key", shop.token().to_owned()),
    ];
    columns.map(|(name, value)| (name.to_owned(), value)).into()
}

fn fake_server(provider: &str, llm: &FakeLlm) -> ModelServer {
    ModelServer::At {
        url: base_url(provider, &llm.url()),
        model: "fake-model".to_owned(),
        key: Some("key-of-the-tenant".to_owned()),
    }
}

/// The columns that say who answers. Only in a scene is there a fake: elsewhere it names no server.
pub fn columns_of_model(provider: &str, model: &ModelServer) -> Vec<Column> {
    let mut columns = vec![("llm_provider".to_owned(), provider.to_owned())];
    if let ModelServer::At { url, model, key } = model {
        columns.push(("llm_base_url".to_owned(), url.clone()));
        columns.push(("llm_model".to_owned(), model.clone()));
        columns.extend(key.clone().map(|key| ("llm_api_key".to_owned(), key)));
    }
    columns
}

/// The base URL as each provider's own clients take it.
pub fn base_url(provider: &str, server: &str) -> String {
    if provider == "openai" { format!("{server}/v1") } else { server.to_owned() }
}
