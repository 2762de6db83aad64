//! A fake LLM that speaks Anthropic's and OpenAI's wire formats on one port. It refuses what they
//! refuse, answers in their shapes, and says what the test tells it to say.

mod anthropic;
mod openai;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::gate::Gate;
use crate::http::{Answer, HttpServer, Request, let_pass};
use crate::payload::hex;
use crate::wait::{Journal, lock};

#[derive(Clone, Debug, Default)]
pub struct LlmOptions {
    /// The only key that is taken. None: Anthropic's format wants some key, OpenAI's wants none, as
    /// servers on one's own machine do.
    pub api_key: Option<String>,
    /// The models that exist; empty means that every name does.
    pub models: Vec<String>,
}

/// What one call comes to.
#[derive(Clone, Debug)]
pub enum LlmBehaviour {
    /// `Answer <n> to: <last user text>`
    Usual,
    Answer(String),
    /// The same, but stopped by the token limit.
    Truncated(String),
    Slow(Duration, String),
    /// Waits at the gate, then goes on as the inner behaviour says.
    HoldUntil(Gate, Box<LlmBehaviour>),
    /// Any status and body; the number is `Retry-After`, in seconds.
    Status(u16, Value, Option<u64>),
    RateLimited(Option<u64>),
    Overloaded,
    WrongKey,
    CutMidBody,
    /// The line is cut before a byte of the answer.
    Cut,
    /// 200 with something that is not JSON.
    Malformed,
    /// A good answer with no text in it.
    Empty,
    Hang,
    /// The model declines to answer.
    Refuse,
    ContextTooLong,
}

impl LlmBehaviour {
    pub fn answer(text: &str) -> Self {
        Self::Answer(text.to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Anthropic,
    OpenAi,
}

/// One call that reached the fake, taken or refused.
#[derive(Clone, Debug)]
pub struct LlmRequest {
    /// Counted from 1, as they came.
    pub number: usize,
    pub format: Format,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    pub at: DateTime<Utc>,
}

impl LlmRequest {
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// Role and text of each turn, without the system prompt.
    pub fn turns(&self) -> Vec<(String, String)> {
        let turns = self.all_turns();
        turns.into_iter().filter(|(role, _)| !is_system(role)).collect()
    }

    /// The system prompt, wherever the format keeps it.
    pub fn system_text(&self) -> String {
        match self.format {
            Format::Anthropic => text_of_content(&self.body["system"]),
            Format::OpenAi => {
                let turns = self.all_turns().into_iter().filter(|(role, _)| is_system(role));
                turns.map(|(_, text)| text).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// The last thing a user said.
    pub fn last_user_text(&self) -> String {
        let turn = self.turns().into_iter().rev().find(|(role, _)| role == "user");
        turn.map(|(_, text)| text).unwrap_or_default()
    }

    fn all_turns(&self) -> Vec<(String, String)> {
        let messages = self.body["messages"].as_array().into_iter().flatten();
        let turn = |message: &Value| {
            let role = message["role"].as_str().unwrap_or_default().to_owned();
            (role, text_of_content(&message["content"]))
        };
        messages.map(turn).collect()
    }
}

/// What a model has to say, before a wire format dresses it.
enum Utterance {
    Text(String),
    Truncated(String),
    Empty,
    Refusal,
}

/// What a test decides about each call when it comes.
type Decision = Arc<dyn Fn(&LlmRequest) -> LlmBehaviour + Send + Sync>;

#[derive(Default)]
struct LlmState {
    options: LlmOptions,
    calls: AtomicUsize,
    requests: Journal<LlmRequest>,
    queued: Mutex<VecDeque<LlmBehaviour>>,
    by_content: Mutex<Vec<(String, LlmBehaviour)>>,
    decision: Mutex<Option<Decision>>,
}

pub struct FakeLlm {
    server: HttpServer,
    state: Arc<LlmState>,
}

impl FakeLlm {
    /// Takes any key and any model; answers `Answer <n> to: <last user text>`, n counting from 1.
    pub fn start() -> Self {
        Self::start_with(LlmOptions::default())
    }

    pub fn start_with(options: LlmOptions) -> Self {
        let state = Arc::new(LlmState { options, ..LlmState::default() });
        let served = Arc::clone(&state);
        let server = HttpServer::start(move |request| serve(Arc::clone(&served), request));
        Self { server, state }
    }

    /// The base URL, to which a client adds `/v1/messages` or `/v1/chat/completions`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Queues what the next call comes to; when the queue is empty, the usual answer is back.
    pub fn next(&self, behaviour: LlmBehaviour) {
        lock(&self.state.queued).push_back(behaviour);
    }

    /// The next call waits until the gate is released, and then gets the usual answer.
    pub fn hold(&self) -> Gate {
        self.hold_then(LlmBehaviour::Usual)
    }

    /// The next call waits until the gate is released, and then comes to this.
    pub fn hold_then(&self, behaviour: LlmBehaviour) -> Gate {
        let gate = Gate::closed();
        self.next(LlmBehaviour::HoldUntil(gate.clone(), Box::new(behaviour)));
        gate
    }

    /// Every call whose last user text contains `part` comes to this, before the queue is asked.
    pub fn when(&self, part: &str, behaviour: LlmBehaviour) {
        lock(&self.state.by_content).push((part.to_owned(), behaviour));
    }

    /// Decides, call by call, what a call comes to for which nothing else was said.
    pub fn decide(&self, decide: impl Fn(&LlmRequest) -> LlmBehaviour + Send + Sync + 'static) {
        *lock(&self.state.decision) = Some(Arc::new(decide));
    }

    pub fn requests(&self) -> Vec<LlmRequest> {
        self.state.requests.all()
    }

    /// Waits until at least `count` calls have come, and returns all.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize, limit: Duration) -> Vec<LlmRequest> {
        self.state.requests.wait_for(count, "LLM request", limit)
    }

    /// Connections are refused from here on.
    pub fn go_down(&self) {
        self.server.go_down();
    }

    pub fn come_back(&self) {
        self.server.come_back();
    }
}

async fn serve(state: Arc<LlmState>, request: Request) -> Answer {
    let format = match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/v1/messages") => Format::Anthropic,
        ("POST", "/v1/chat/completions") => Format::OpenAi,
        _ => return Answer::text(404, "text/plain", "Not Found"),
    };
    let call = LlmRequest {
        number: state.calls.fetch_add(1, Ordering::Relaxed) + 1,
        format,
        path: request.path.clone(),
        body: request.json(),
        headers: request.headers,
        at: request.at,
    };
    state.requests.push(call.clone());
    let complaint = match format {
        Format::Anthropic => anthropic::complaint(&call, &state.options),
        Format::OpenAi => openai::complaint(&call, &state.options),
    };
    let request_id = format!("req_{}", hex(24).to_lowercase());
    let answer = match complaint {
        Some(complaint) => complaint,
        None => behave(&call, state.behaviour_for(&call)).await,
    };
    match format {
        Format::Anthropic => answer.with_header("request-id", request_id),
        Format::OpenAi => answer.with_header("x-request-id", request_id),
    }
}

impl LlmState {
    fn behaviour_for(&self, call: &LlmRequest) -> LlmBehaviour {
        let text = call.last_user_text();
        let by_content = lock(&self.by_content);
        if let Some((_, behaviour)) = by_content.iter().find(|(part, _)| text.contains(part)) {
            return behaviour.clone();
        }
        drop(by_content);
        if let Some(queued) = lock(&self.queued).pop_front() {
            return queued;
        }
        let decision = lock(&self.decision).clone();
        decision.map_or(LlmBehaviour::Usual, |decide| decide(call))
    }
}

async fn behave(call: &LlmRequest, mut behaviour: LlmBehaviour) -> Answer {
    while let LlmBehaviour::HoldUntil(gate, then) = behaviour {
        gate.pass().await;
        behaviour = *then;
    }
    match behaviour {
        LlmBehaviour::Slow(duration, text) => {
            let_pass(duration).await;
            say(call, Utterance::Text(text))
        }
        LlmBehaviour::Usual => {
            let text = format!("Answer {} to: {}", call.number, call.last_user_text());
            say(call, Utterance::Text(text))
        }
        LlmBehaviour::Answer(text) => say(call, Utterance::Text(text)),
        LlmBehaviour::Truncated(text) => say(call, Utterance::Truncated(text)),
        LlmBehaviour::Empty => say(call, Utterance::Empty),
        LlmBehaviour::Refuse => say(call, Utterance::Refusal),
        LlmBehaviour::CutMidBody => say(call, Utterance::Text("cut off".to_owned())).cut_mid_body(),
        LlmBehaviour::Malformed => {
            Answer::text(200, "text/html", "<html><body>502 Bad Gateway</body></html>")
        }
        LlmBehaviour::Cut => Answer::cut(),
        LlmBehaviour::Hang | LlmBehaviour::HoldUntil(..) => Answer::never(),
        LlmBehaviour::Status(status, body, retry_after) => {
            retrying(Answer::json(status, &body), retry_after)
        }
        LlmBehaviour::RateLimited(retry_after) => {
            retrying(fail(call, Failure::RateLimited), retry_after)
        }
        LlmBehaviour::Overloaded => fail(call, Failure::Overloaded),
        LlmBehaviour::WrongKey => fail(call, Failure::WrongKey),
        LlmBehaviour::ContextTooLong => fail(call, Failure::ContextTooLong),
    }
}

/// Failures that the providers put in words of their own.
enum Failure {
    RateLimited,
    Overloaded,
    WrongKey,
    ContextTooLong,
}

fn say(call: &LlmRequest, utterance: Utterance) -> Answer {
    match call.format {
        Format::Anthropic => anthropic::say(call, utterance),
        Format::OpenAi => openai::say(call, utterance),
    }
}

fn fail(call: &LlmRequest, failure: Failure) -> Answer {
    match call.format {
        Format::Anthropic => anthropic::fail(failure),
        Format::OpenAi => openai::fail(call, failure),
    }
}

fn retrying(answer: Answer, retry_after: Option<u64>) -> Answer {
    match retry_after {
        Some(seconds) => answer.with_header("retry-after", seconds.to_string()),
        None => answer,
    }
}

fn is_system(role: &str) -> bool {
    matches!(role, "system" | "developer")
}

/// A string, or the texts of a list of blocks.
fn text_of_content(content: &Value) -> String {
    let blocks = content.as_array().into_iter().flatten();
    let texts: Vec<&str> = blocks.filter_map(|block| block["text"].as_str()).collect();
    content.as_str().map_or_else(|| texts.join("\n"), str::to_owned)
}

/// Tokens as a rule of thumb: four bytes each, never none.
fn tokens_of(text: &str) -> usize {
    text.len() / 4 + 1
}
