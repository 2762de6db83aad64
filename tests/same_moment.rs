//! The same webhook in many sessions at the same moment, as when Evolution is restarted or runs
//! twice: it acts once, and every session is told what it did.

use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};
use support::{Person, Scene, shared_cluster};

/// Each kind of event that leaves a row, from sixteen sessions that all begin at the same moment.
#[test]
fn one_payload_in_sixteen_connections_at_once_acts_once() {
    const SESSIONS: usize = 16;
    let scene = Scene::start(shared_cluster(), "sixteen");
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    let line = scene.shop.line();
    let maria = Person::with_phone("5511999990001").and_lid("100000000000001");
    let now = chrono::Utc::now();
    let text = |text: &str| json!({ "conversation": text });
    let question = line.customer_message(&maria, "Q1", text("Oi?"), "conversation", now);
    let payloads = [
        ("messages.upsert", question, "ai_queued"),
        ("messages.edited", line.edit("Q1", "Olá?", now), "edited"),
        ("messages.edited", line.edit("Q0", "Antes de tudo", now), "edited_early"),
        ("messages.delete", maria.key("Q1", false), "deleted"),
        ("messages.upsert", line.owner_message(&maria, "H1", "Eu atendo", now), "paused"),
        ("send.message", line.api_message(maria.jid(), "A1", "Olá!", now), "other_sender"),
    ];
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| scene.db.connect()).collect();
    for (event, data, action) in payloads {
        let payload = line.envelope(event, data, "");
        let start = Barrier::new(SESSIONS);
        let answers: Vec<Value> = thread::scope(|scope| {
            let calls: Vec<_> = sessions
                .iter_mut()
                .map(|session| {
                    scope.spawn(|| {
                        start.wait();
                        let row = session.query_one("SELECT whaply.ingest($1)", &[&payload]);
                        row.expect("it is taken").get(0)
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("no panic")).collect()
        });
        assert!(answers.iter().all(|answer| answer["action"] == action), "{event}: {answers:?}");
        let firsts = answers.iter().filter(|answer| answer["duplicate"] == false).count();
        assert_eq!(firsts, 1, "{event}: {answers:?}");
    }
    let counts = scene.db.rows(
        "SELECT (SELECT count(*) FROM whaply.processed_events), (SELECT count(*) FROM whaply.messages),
                (SELECT count(*) FROM whaply.sessions), (SELECT count(*) FROM whaply.replies),
                (SELECT sum(wanted) FROM whaply.replies)",
        &[],
    );
    let counts: Vec<i64> = (0..5).map(|column| counts[0].get(column)).collect();
    // The reply was wanted by the question, its edit and its deletion.
    assert_eq!(counts, [6, 4, 1, 1, 3]);
}
