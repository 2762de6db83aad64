//! A fake Evolution API 2.3.6 with WhatsApp behind it: it answers as the real one does, posts
//! webhooks as the real one does, and lets a test play the people. It knows nothing of whaply.

mod instance;
mod pairing;
mod routes;
mod send;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

pub use instance::{Instance, SendCall, SentText};
pub use webhook::{Said, Webhook, WebhookAttempt};

use crate::gate::Gate;
use crate::http::{HttpServer, Request};
use crate::payload::Line;
use crate::wait::{Journal, lock};
use instance::InstanceState;

#[derive(Clone, Debug)]
pub struct EvolutionOptions {
    /// Valid for every instance, as AUTHENTICATION_API_KEY is.
    pub global_key: String,
    /// Whether envelopes carry the instance's token (AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES).
    pub expose_token: bool,
    /// What the retry delays of 5, 10, 20, … seconds are multiplied with.
    pub retry_scale: f64,
    /// How long a webhook's receiver may take to answer (WEBHOOK_REQUEST_TIMEOUT_MS).
    pub webhook_timeout: Duration,
}

impl Default for EvolutionOptions {
    fn default() -> Self {
        Self {
            global_key: "global-key-of-the-fake".to_owned(),
            expose_token: false,
            retry_scale: 0.01,
            webhook_timeout: Duration::from_secs(30),
        }
    }
}

/// When the echo of a send goes out, seen from the HTTP answer of that send. It is a `send.message`
/// unless the variant says otherwise.
#[derive(Clone, Debug, Default)]
pub enum Echo {
    /// Its first attempt has ended before the answer is written.
    Before,
    /// Both are under way at once, as on the real one.
    #[default]
    With,
    /// This much later than the answer.
    After(Duration),
    /// When the gate opens, which may be long after the answer.
    HoldUntil(Gate),
    /// With the answer, but only as a `messages.upsert`, as other versions of the gateway have it.
    AsUpsert,
    /// With the answer, as both events.
    AsBoth,
    /// Lost, as when Evolution restarts.
    Never,
}

/// What becomes of one sendText. "Taken" means: the customer sees the message, and the echo goes out.
#[derive(Clone, Debug)]
pub enum SendBehaviour {
    Ok,
    /// Taken, but WhatsApp knows the number under this other JID.
    OkAs(String),
    /// Taken at once, answered this much later.
    SlowOk(Duration),
    /// Not taken before this has passed.
    LateOk(Duration),
    /// Not taken before the gate opens.
    HoldThenOk(Gate),
    /// Taken at once, answered when the gate opens.
    TakeThenHold(Gate),
    TakeThenHang,
    TakeThenCut,
    /// Taken, and the line is cut in the middle of the answer.
    TakeThenCutMidBody,
    /// Taken, and answered with this 400, e.g. `Error: Connection Closed`.
    TakeThen400(String),
    /// The same answer, but nothing was taken.
    Refuse400(String),
    /// Nothing was taken, and no answer comes.
    Hang,
    /// Nothing was taken, and the line is cut.
    Cut,
    /// Nothing was taken, and this is the answer.
    Status(u16, Value),
    RefuseNotOnWhatsapp,
    /// The socket to WhatsApp was closed while the number was being checked.
    ConnectionClosed500,
    /// The instance's row exists, but the instance is not loaded.
    NotLoaded500,
    /// WHATSAPP-BUSINESS: Meta refused, and Evolution says 201.
    MetaError201,
}

/// The server. Instances are made with [`FakeEvolution::create_instance`].
pub struct FakeEvolution {
    server: HttpServer,
    state: Arc<EvolutionState>,
}

struct EvolutionState {
    options: EvolutionOptions,
    instances: Mutex<BTreeMap<String, Arc<InstanceState>>>,
    requests: Journal<Request>,
    agent: ureq::Agent,
    /// Paths whose calls wait, and for what.
    held: Mutex<Vec<(String, Gate)>>,
    /// Where it listens itself.
    url: Mutex<String>,
}

impl EvolutionState {
    fn gate_of(&self, path: &str) -> Option<Gate> {
        let held = lock(&self.held);
        held.iter().find(|(part, _)| path.contains(part)).map(|(_, gate)| gate.clone())
    }

    fn instance(&self, name: &str) -> Option<Arc<InstanceState>> {
        lock(&self.instances).get(name).cloned()
    }
}

impl FakeEvolution {
    pub fn start(options: EvolutionOptions) -> Self {
        let state = Arc::new(EvolutionState {
            agent: webhook::agent(options.webhook_timeout),
            options,
            instances: Mutex::default(),
            requests: Journal::default(),
            held: Mutex::default(),
            url: Mutex::default(),
        });
        let routed = Arc::clone(&state);
        let server = HttpServer::start(move |request| routes::answer(Arc::clone(&routed), request));
        *lock(&state.url) = server.url();
        Self { server, state }
    }

    /// What goes into `evo_server_url`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn global_key(&self) -> &str {
        &self.state.options.global_key
    }

    /// A connected instance with a token of its own and no webhook yet.
    pub fn create_instance(&self, name: &str) -> Instance {
        let mut line = Line::new(name);
        line.server_url = self.url();
        let instance = Arc::new(InstanceState::new(line, &self.state));
        lock(&self.state.instances).insert(name.to_owned(), Arc::clone(&instance));
        Instance::new(instance, self.server.runtime().clone())
    }

    /// As if the instance had never been: calls answer 404.
    pub fn delete_instance(&self, name: &str) {
        lock(&self.state.instances).remove(name);
    }

    /// Every call so far, whatever it was answered.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.all()
    }

    #[track_caller]
    pub fn wait_for_request(&self, path_part: &str, limit: Duration) -> Request {
        let what = format!("request to {path_part}");
        let matches = |request: &Request| request.path.contains(path_part);
        self.state.requests.wait_for_one(&what, limit, matches)
    }

    /// Calls whose path contains this wait at the gate, and have done nothing yet.
    pub fn hold(&self, path_part: &str) -> Gate {
        let gate = Gate::closed();
        lock(&self.state.held).push((path_part.to_owned(), gate.clone()));
        gate
    }

    /// Calls are refused from here on. Webhooks still go out.
    pub fn go_down(&self) {
        self.server.go_down();
    }

    pub fn come_back(&self) {
        self.server.come_back();
    }
}
