//! What the server's log tells at its default level: one line for each change of state, with the tenant and
//! ids; and never a word of a message nor a key, not even where another server quotes them in its error.

use std::net::SocketAddr;

use serde_json::json;
use support::listener::{cluster_with_listener, free_address, message, request, wait_until_well};
use support::scene::{SECRET_HEADER, webhook_of};
use support::worker::wait_until_without_worker;
use support::{
    Cluster, ClusterOptions, LlmBehaviour, PATIENCE, Person, Scene, SendBehaviour, wait_until,
};

const MARIA: &str = "5511999990001";
const JOAO: &str = "5511999990002";
const ANA: &str = "5511999990003";
/// What customers, the assistant and the owner say; none of it is a word of ours.
const QUESTION: &str = "quanto custa a girafa azul";
const ANSWER: &str = "a girafa custa nove patacas";
const OWNER: &str = "deixa comigo, rinoceronte";

/// The model refuses, and quotes what it was asked.
fn refused_by_the_model() -> LlmBehaviour {
    let body = json!({ "error": { "message": format!("bad words: {QUESTION}"), "type": "x" } });
    LlmBehaviour::Status(400, body, None)
}

/// A conversation, and the log of the server that has it.
struct Story {
    address: SocketAddr,
    cluster: Cluster,
    scene: Scene,
}

impl Story {
    fn begin() -> Self {
        let address = free_address();
        let cluster = cluster_with_listener(address, ClusterOptions::default());
        let scene = Scene::start(&cluster, "log_lines");
        let webhook = webhook_of(&scene.db, scene.tenant_id, &format!("http://{address}/webhook"));
        scene.shop.set_webhook(webhook);
        wait_until_well(address);
        Self { address, cluster, scene }
    }

    #[track_caller]
    fn is_told(&self, part: &str) {
        wait_until(part, PATIENCE, || {
            let log = self.cluster.log();
            let is_told = log.lines().any(|line| line.contains("whaply: ") && line.contains(part));
            if is_told { Ok(()) } else { Err(log) }
        });
    }

    #[track_caller]
    fn is_told_of_the_tenant(&self, part: &str) {
        self.is_told(&format!("whaply: tenant {} (loja-demo): {part}", self.scene.tenant_id));
    }

    #[track_caller]
    fn wait_for_end(&self, state: &str, replies: i64) {
        let sql = "SELECT count(*) FROM whaply.replies WHERE state = $1";
        let replies_ended = || self.scene.db.value::<i64>(sql, &[&state]) == replies;
        wait_until(state, PATIENCE, replies_ended);
        self.scene.wait_until_idle();
    }

    fn is_answered(&self) {
        self.scene.llm.next(LlmBehaviour::answer(ANSWER));
        self.scene.shop.customer_says(MARIA, QUESTION).delivered();
        self.scene.shop.wait_for_sent(1, PATIENCE);
        self.wait_for_end("sent", 1);
    }

    /// The chat is handed over, and taken back.
    fn is_refused_by_the_model(&self) {
        self.scene.llm.next(refused_by_the_model());
        self.scene.shop.customer_says(JOAO, QUESTION).delivered();
        self.wait_for_end("failed", 1);
        self.is_told_of_the_tenant("reply 2: failed: openai answered 400");
        self.is_told_of_the_tenant(&format!("chat {JOAO}@s.whatsapp.net: paused: ai_failed"));
        let resume = format!("SELECT whaply.resume_session('loja-demo', '{JOAO}@s.whatsapp.net')");
        self.scene.db.execute(&resume);
        self.is_told_of_the_tenant(&format!("chat {JOAO}@s.whatsapp.net: resumed"));
    }

    /// Which quotes the answer.
    fn is_refused_by_evolution(&self) {
        self.scene.llm.next(LlmBehaviour::answer(ANSWER));
        let quoted = json!({ "status": 403, "response": { "message": [format!("no: {ANSWER}")] } });
        self.scene.shop.next_send(SendBehaviour::Status(403, quoted));
        self.scene.shop.customer_says(ANA, QUESTION).delivered();
        self.wait_for_end("failed", 2);
        self.is_told_of_the_tenant("reply 3: failed: ");
        self.is_told_of_the_tenant("delivery 2: failed: ");
    }

    fn is_asked_to_wait(&self) {
        self.scene.llm.next(LlmBehaviour::RateLimited(Some(1)));
        self.scene.llm.next(LlmBehaviour::answer(ANSWER));
        self.scene.shop.customer_says(MARIA, QUESTION).delivered();
        self.wait_for_end("sent", 2);
        self.is_told("reply 4: its provider asks to wait");
        self.is_told("reply 4: its provider answers again");
    }

    fn is_taken_over(&self) {
        let shop = &self.scene.shop;
        shop.owner_types(MARIA, OWNER).delivered();
        self.is_told_of_the_tenant(&format!("chat {MARIA}@s.whatsapp.net: paused: human_takeover"));
        shop.owner_types(MARIA, OWNER).delivered();
    }

    fn loses_the_line(&self) {
        let shop = &self.scene.shop;
        shop.connection_becomes("close").delivered();
        self.is_told_of_the_tenant("line: close");
        shop.connection_becomes("open").delivered();
        self.is_told_of_the_tenant("line: open");
    }

    /// Statements that hold what is said, as a program without parameters writes them.
    fn speaks_by_sql(&self) {
        let scene = &self.scene;
        let joao = format!("'loja-demo', '{JOAO}'");
        let line = scene.shop.line();
        let now = chrono::Utc::now();
        let data = line.owner_message(&Person::with_phone(ANA), "BY-SQL", OWNER, now);
        let payload = line.envelope("messages.upsert", data, "http://sql").to_string();
        scene.db.execute(&format!("SELECT whaply.pause_session({joao}, 'vip')"));
        scene.db.execute(&format!("/* {QUESTION} */ SELECT whaply.resume_session({joao})"));
        scene.db.execute(&format!("SELECT whaply.send_message({joao}, '{ANSWER}', pause => true)"));
        scene.db.execute(&format!("SELECT whaply.resume_session('loja-demo', '{ANA}')"));
        scene.db.execute(&format!("SELECT whaply.ingest('{payload}')"));
        scene.wait_until_idle();
    }

    fn hears_a_stranger(&self) {
        let body = message("loja-demo", "LOG-1", QUESTION).to_string();
        for _ in 0..2 {
            let headers = [(SECRET_HEADER, "guessed-by-a-stranger")];
            let answer = request(self.address, "POST", "/webhook", &headers, body.as_bytes());
            assert_eq!(answer.status, 401);
        }
        self.is_told("webhooks: refused: wrong_secret");
    }

    fn ends(&self) {
        self.scene.db.execute("SELECT whaply.stop_worker()");
        wait_until_without_worker(&self.scene.db);
        self.is_told("whaply: the reply worker ends: stop_worker() was called");
        self.is_told("whaply: the reply worker is ready");
    }
}

/// What the log tells of the tenant, in the order of the alphabet.
fn lines_of_the_tenant() -> Vec<String> {
    let chat =
        |phone: &str, what: &str| format!("1 (loja-demo): chat {phone}@s.whatsapp.net: {what}");
    let mut lines = vec![
        chat(JOAO, "paused: ai_failed"),
        chat(JOAO, "resumed"),
        chat(JOAO, "paused: vip"),
        chat(JOAO, "resumed"),
        chat(JOAO, "paused: manual_pause"),
        chat(ANA, "paused: ai_failed"),
        chat(ANA, "resumed"),
        chat(ANA, "paused: human_takeover"),
        chat(MARIA, "paused: human_takeover"),
        "1 (loja-demo): reply 2: failed: openai answered 400".to_owned(),
        "1 (loja-demo): reply 3: failed: sendText answered 403".to_owned(),
        "1 (loja-demo): delivery 2: failed: sendText answered 403".to_owned(),
        "1: reply 4: its provider asks to wait: nothing is asked on the account for 1 s".to_owned(),
        "1: reply 4: its provider answers again".to_owned(),
        "1 (loja-demo): line: close".to_owned(),
        "1 (loja-demo): line: open".to_owned(),
        "1 (loja-demo): webhooks: refused: wrong_secret; whaply.health tells how many".to_owned(),
    ];
    lines.sort();
    lines
}

#[test]
fn a_conversation_with_failures_leaves_one_line_for_each_change_and_no_text_and_no_key() {
    let story = Story::begin();
    story.is_answered();
    story.is_refused_by_the_model();
    story.is_refused_by_evolution();
    story.is_asked_to_wait();
    story.is_taken_over();
    story.loses_the_line();
    story.speaks_by_sql();
    story.hears_a_stranger();
    story.ends();

    let log = story.cluster.log();
    let of_tenant =
        |line: &str| line.split_once("whaply: tenant ").map(|(_, told)| told.to_owned());
    let mut told: Vec<String> = log.lines().filter_map(of_tenant).collect();
    told.sort();
    assert_eq!(told, lines_of_the_tenant(), "{log}");
    let webhook_secret: String =
        story.scene.db.value("SELECT webhook_secret FROM whaply.tenants", &[]);
    let words = ["girafa", "patacas", "rinoceronte", "guessed-by-a-stranger"];
    let keys = ["key-of-the-tenant", story.scene.shop.token(), webhook_secret.as_str()];
    for secret in words.into_iter().chain(keys) {
        assert!(!log.contains(secret), "{secret} stands in the log\n{log}");
    }
}
