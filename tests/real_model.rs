//! A whole conversation with a real language model behind llama.cpp's own HTTP server, in both wire
//! formats. The model is too small to obey, so only shapes and figures are looked at, never words.

use std::time::Duration;

use support::scene::base_url;
use support::{Llama, ModelServer, Scene, SceneOptions, shared_cluster};

/// 64 tokens take about a second on an idle core.
const LIMIT: Duration = Duration::from_secs(120);

const MOST_TOKENS: i32 = 64;

#[test]
fn a_real_model_answers_a_customer_in_both_wire_formats() {
    let llama = Llama::start().unwrap_or_else(|error| panic!("the real model: {error}"));
    for provider in ["openai", "anthropic"] {
        let options = SceneOptions { provider: provider.to_owned(), ..SceneOptions::default() }
            .model(ModelServer::At {
                url: base_url(provider, llama.url()),
                model: Llama::MODEL.to_owned(),
                key: None,
            })
            .with("max_tokens", &MOST_TOKENS.to_string())
            .with("system_prompt", "You answer for a bakery, in one short sentence.");
        let scene = Scene::start_with(shared_cluster(), provider, options);
        let first = converse(&scene, provider, "Hello! Are you open on Sundays?", 1);
        let second = converse(&scene, provider, "And what do you sell?", 2);
        assert!(second > first, "{provider}: the model read the chat so far: {first}, {second}");
    }
}

/// Asks, checks all that was kept of the answer, and returns how many tokens the model has read.
fn converse(scene: &Scene, provider: &str, question: &str, number: usize) -> i32 {
    let asked = scene.shop.customer_says("5511999990001", question).delivered();
    let sent = scene.shop.wait_for_sent(number, LIMIT);
    scene.wait_until_idle();
    let said = &sent[number - 1].text;
    println!("{provider}: {question:?} was answered with {said:?}");
    assert!(!said.trim().is_empty());
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));

    let rows = scene.db.rows(
        "SELECT r.state, r.provider, r.model, r.input_tokens, r.output_tokens, r.text, m.text,
                r.answered_at > r.claimed_at
           FROM whaply.replies r JOIN whaply.messages m ON m.reply_id = r.id
          WHERE m.sender = 'assistant' ORDER BY r.id DESC LIMIT 1",
        &[],
    );
    let row = rows.first().expect("a reply and its message");
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("sent", provider, Llama::MODEL));
    let (read, written): (i32, i32) = (row.get(3), row.get(4));
    assert!(read > 10, "{read} tokens were read");
    assert!((1..=MOST_TOKENS).contains(&written), "{written} tokens were written");
    assert_eq!((row.get::<_, &str>(5), row.get::<_, &str>(6)), (said.as_str(), said.as_str()));
    assert!(row.get::<_, bool>(7), "it was answered after it was asked");
    read
}
