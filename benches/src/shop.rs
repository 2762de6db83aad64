//! What the worker's measurements share: a server of its own with whaply, tenants whose model and
//! gateway are light servers, chats with a past, and customers who all write at once.

use std::time::{Duration, Instant};

use postgres::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use support::payload::Line;
use support::{Cluster, ClusterOptions, Database, Person, wait_until};

use crate::light_server::LightServer;

/// Files that a server may open which holds 1,000 calls beside its tables.
const OPEN_FILES: u64 = 8_192;

/// Messages that a chat has before anything is measured.
const PAST_MESSAGES: i32 = 10;

/// The longest that one measurement may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A past for every chat, so that the model is sent a history.
const PAST: &str = "
    WITH chats AS (
        INSERT INTO whaply.sessions (tenant_id, chat_id, reply_jid)
        SELECT t.id, jid, jid
          FROM whaply.tenants t CROSS JOIN generate_series(0, $1 - 1) AS n,
       LATERAL (SELECT 5511990000000 + n || '@s.whatsapp.net') AS c (jid)
        RETURNING tenant_id, chat_id)
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, message_type, text, sender, sent_at)
    SELECT tenant_id, chat_id, 'PAST-' || chat_id || n, n % 2 = 0, 'conversation',
           'Mensagem ' || n || ' de uma conversa de antes', CASE n % 2 WHEN 0 THEN 'assistant' ELSE 'customer' END,
           now() - make_interval(mins => 2 * $2 - n)
      FROM chats CROSS JOIN generate_series(1, $2) AS n";

/// Tenants, each with the same number of chats.
pub struct Shops {
    pub db: Database,
    /// Lives as long as its database.
    _cluster: Cluster,
    client: Client,
    tenants: usize,
    chats: usize,
    asked: usize,
}

impl Shops {
    /// `chats` of each of `tenants`, none of them with a limit that would hold back an answer.
    pub fn start(tenants: usize, chats: usize, model: &LightServer, gateway: &LightServer) -> Self {
        raise_open_files();
        let options = ClusterOptions { fsync: true, ..ClusterOptions::default() };
        let options = options
            .with("whaply.max_in_flight", "1000")
            .with("whaply.answers_per_chat", "0")
            .with("whaply.answers_per_tenant", "0")
            .with("whaply.debounce", "0");
        let options = extra_settings()
            .into_iter()
            .fold(options, |options, (setting, value)| options.with(&setting, &value));
        let cluster = Cluster::start(options);
        let db = cluster.create_database("bench");
        let mut client = db.connect();
        for tenant in 0..tenants {
            client
                .execute(
                    "INSERT INTO whaply.tenants (instance_name, evo_server_url, llm_provider, llm_base_url, llm_model)
                     VALUES ($1, $2, 'openai', $3, 'fake-model')",
                    &[&instance(tenant), &gateway.url(), &format!("{}/v1", model.url())],
                )
                .expect("a tenant");
        }
        let chats_as_i32 = i32::try_from(chats).expect("few chats");
        client.execute(PAST, &[&chats_as_i32, &PAST_MESSAGES]).expect("a past");
        client.batch_execute("VACUUM ANALYZE").expect("statistics");
        Self { _cluster: cluster, db, client, tenants, chats, asked: 0 }
    }

    /// Every customer asks once, all in one transaction; when its COMMIT was sent, and when it had
    /// returned.
    pub fn all_ask(&mut self) -> (Instant, Instant) {
        let (tenants, chats) = (self.tenants, self.chats);
        let all = (0..chats).flat_map(|chat| (0..tenants).map(move |tenant| (tenant, chat)));
        let questions: Vec<Value> = all.map(|(tenant, chat)| self.question(tenant, chat)).collect();
        let mut transaction = self.client.transaction().expect("a transaction");
        let ingest = transaction.prepare("SELECT whaply.ingest($1)").expect("a prepared call");
        for question in &questions {
            let row = transaction.query_one(&ingest, &[question]).expect("an event");
            let outcome: Value = row.get(0);
            assert_eq!(outcome["action"], "ai_queued", "{outcome}");
        }
        let sent = Instant::now();
        transaction.commit().expect("a commit");
        (sent, Instant::now())
    }

    /// Waits until so many answers stand at the gateway and the worker has written them.
    pub fn wait_for_answers(&self, gateway: &LightServer, count: usize) {
        wait_until("every answer", LIMIT, || match gateway.answers().len() {
            answers if answers >= count => Ok(()),
            answers => Err(format!("{answers} answers")),
        });
        let idle = "SELECT whaply.wait_until_idle('60 s')";
        assert!(self.db.value::<bool>(idle, &[]), "the worker has something open");
    }

    fn question(&mut self, tenant: usize, chat: usize) -> Value {
        self.asked += 1;
        let line = Line::new(&instance(tenant));
        let customer = Person::with_phone(&(5_511_990_000_000 + chat as u64).to_string());
        let id = format!("ASKED{:016}", self.asked);
        let said = serde_json::json!({ "conversation": "Vocês abrem hoje?" });
        let now = std::time::SystemTime::now().into();
        let data = line.customer_message(&customer, &id, said, "conversation", now);
        line.envelope("messages.upsert", data, "http://localhost/")
    }
}

fn instance(number: usize) -> String {
    format!("loja-{number}")
}

/// `BENCH_SETTINGS='whaply.worker_threads=500 shared_buffers=1GB'`: for trying things out.
fn extra_settings() -> Vec<(String, String)> {
    let settings = std::env::var("BENCH_SETTINGS").unwrap_or_default();
    let pairs = settings.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(setting, value)| (setting.to_owned(), value.to_owned())).collect()
}

/// The server inherits the limit of whoever starts it.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        // Where it is refused, the worker says how many calls it makes.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}
