//! What the server's log tells at its default level: one line for each change of state, with the tenant and
//! ids; and never a word of a message nor a key, not even where another server quotes them in its error.

use std::time::Duration;

use serde_json::json;
use support::listener::{cluster_with_listener, free_address, message, request, wait_until_well};
use support::scene::{SECRET_HEADER, webhook_of};
use support::worker::wait_until_without_worker;
use support::{Cluster, ClusterOptions, LlmBehaviour, PATIENCE, Scene, SendBehaviour, wait_until};

const MARIA: &str = "5511999990001";
const JOAO: &str = "5511999990002";
const ANA: &str = "5511999990003";
const LIMIT: Duration = Duration::from_secs(60);

/// What customers, the assistant and the owner say; none of it is a word of ours.
const QUESTION: &str = "quanto custa a girafa azul";
const ANSWER: &str = "a girafa custa nove patacas";
const OWNER: &str = "deixa comigo, rinoceronte";

fn says(cluster: &Cluster, part: &str) {
    wait_until(part, LIMIT, || {
        let log = cluster.log();
        let is_told = log.lines().any(|line| line.contains("whaply: ") && line.contains(part));
        if is_told { Ok(()) } else { Err(log) }
    });
}

fn wait_for_end(scene: &Scene, state: &str, replies: i64) {
    let sql = "SELECT count(*) FROM whaply.replies WHERE state = $1";
    wait_until(state, LIMIT, || scene.db.value::<i64>(sql, &[&state]) == replies);
    scene.wait_until_idle();
}

/// The model refuses, and quotes what it was asked.
fn refused_by_the_model() -> LlmBehaviour {
    let body = json!({ "error": { "message": format!("bad words: {QUESTION}"), "type": "x" } });
    LlmBehaviour::Status(400, body, None)
}

#[test]
fn a_conversation_with_failures_leaves_one_line_for_each_change_and_no_text_and_no_key() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let scene = Scene::start(&cluster, "log_lines");
    let webhook = webhook_of(&scene.db, scene.tenant_id, &format!("http://{address}/webhook"));
    scene.shop.set_webhook(webhook);
    wait_until_well(address);
    let tenant = format!("whaply: tenant {} (loja-demo): ", scene.tenant_id);

    // Answered.
    scene.llm.next(LlmBehaviour::answer(ANSWER));
    scene.shop.customer_says(MARIA, QUESTION).delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    wait_for_end(&scene, "sent", 1);

    // Not answered by the model, which quotes the question; the chat is handed over, and taken back.
    scene.llm.next(refused_by_the_model());
    scene.shop.customer_says(JOAO, QUESTION).delivered();
    wait_for_end(&scene, "failed", 1);
    says(&cluster, &format!("{tenant}reply 2: failed: openai answered 400"));
    says(&cluster, &format!("{tenant}chat {JOAO}@s.whatsapp.net: paused: ai_failed"));
    scene.db.execute("SELECT whaply.resume_session('loja-demo', '5511999990002@s.whatsapp.net')");
    says(&cluster, &format!("{tenant}chat {JOAO}@s.whatsapp.net: resumed"));

    // Not taken by Evolution, which quotes the answer.
    scene.llm.next(LlmBehaviour::answer(ANSWER));
    let quoted = json!({ "status": 403, "response": { "message": [format!("no: {ANSWER}")] } });
    scene.shop.next_send(SendBehaviour::Status(403, quoted));
    scene.shop.customer_says(ANA, QUESTION).delivered();
    wait_for_end(&scene, "failed", 2);
    says(&cluster, &format!("{tenant}reply 3: failed: "));
    says(&cluster, ": failed: ");

    // The provider asks to wait, then answers.
    scene.llm.next(LlmBehaviour::RateLimited(Some(1)));
    scene.llm.next(LlmBehaviour::answer(ANSWER));
    scene.shop.customer_says(MARIA, QUESTION).delivered();
    wait_for_end(&scene, "sent", 2);
    says(&cluster, "reply 4: its provider asks to wait");
    says(&cluster, "reply 4: its provider answers again");

    // A human takes over; the line goes and comes back.
    scene.shop.owner_types(MARIA, OWNER).delivered();
    says(&cluster, &format!("{tenant}chat {MARIA}@s.whatsapp.net: paused: human_takeover"));
    scene.shop.owner_types(MARIA, OWNER).delivered();
    scene.shop.connection_becomes("close").delivered();
    says(&cluster, &format!("{tenant}line: close"));
    scene.shop.connection_becomes("open").delivered();
    says(&cluster, &format!("{tenant}line: open"));

    // Somebody posts with another secret.
    let body = message("loja-demo", "LOG-1", QUESTION).to_string();
    for _ in 0..2 {
        let headers = [(SECRET_HEADER, "guessed-by-a-stranger")];
        let answer = request(address, "POST", "/webhook", &headers, body.as_bytes());
        assert_eq!(answer.status, 401);
    }
    says(&cluster, "webhooks: refused: wrong_secret");

    let secret: String = scene.db.value("SELECT webhook_secret FROM whaply.tenants", &[]);
    scene.db.execute("SELECT whaply.stop_worker()");
    wait_until_without_worker(&scene.db);
    says(&cluster, "whaply: the reply worker ends: stop_worker() was called");
    says(&cluster, "whaply: the reply worker is ready");

    let log = cluster.log();
    for told in [
        format!("{tenant}reply 2: failed: "),
        format!("{tenant}chat {MARIA}@s.whatsapp.net: paused: human_takeover"),
        format!("{tenant}line: close"),
        "reply 4: its provider asks to wait".to_owned(),
        "webhooks: refused: wrong_secret".to_owned(),
    ] {
        assert_eq!(log.matches(&told).count(), 1, "{told}\n{log}");
    }
    let words = ["girafa", "patacas", "rinoceronte", "guessed-by-a-stranger"];
    let keys = ["key-of-the-tenant", scene.shop.token(), secret.as_str()];
    for secret in words.into_iter().chain(keys) {
        assert!(!log.contains(secret), "{secret} stands in the log\n{log}");
    }
}
