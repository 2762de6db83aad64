//! The worker beside what people do to its tables and its database at the same time: none of it
//! stops the worker, and the worker stops none of it.

use support::worker::{wait_for_worker, wait_until_without_worker, worker_pid};
use support::{
    Gate, PATIENCE, Person, Scene, SceneOptions, SendBehaviour, shared_cluster, wait_until,
};

/// What must not wait for a call that never ends fails after this, instead of hanging.
const IMPATIENT: &str = "SET statement_timeout = '30s'";

#[test]
fn no_transaction_is_open_while_the_model_thinks_or_evolution_sends() {
    let scene = Scene::start(shared_cluster(), "thinking");
    let pid = wait_for_worker(&scene.db);
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let thinking = scene.ask_and_hold("Qual o preço?");
    for gate in [thinking, sending] {
        gate.wait_until_reached(PATIENCE);
        wait_until("the worker to have no transaction open", PATIENCE, || {
            let sql = "SELECT state = 'idle' AND xact_start IS NULL AND backend_xmin IS NULL
                         FROM pg_stat_activity WHERE pid = $1";
            scene.db.value::<bool>(sql, &[&pid])
        });
        // Would wait for any lock on the tables.
        let lock = "BEGIN; LOCK TABLE whaply.tenants, whaply.sessions, whaply.messages,
                    whaply.replies, whaply.deliveries IN ACCESS EXCLUSIVE MODE; COMMIT";
        scene.db.execute(&format!("{IMPATIENT}; {lock}"));
        gate.release();
    }
    scene.shop.wait_for_sent(1, PATIENCE);
}

#[test]
fn drop_extension_does_not_wait_for_a_slow_call_and_the_extension_can_come_back() {
    let scene = Scene::start(shared_cluster(), "dropped");
    let gate = scene.ask_and_hold("Qual o preço?");
    let drop = "CREATE TABLE kept AS TABLE whaply.tenants; DROP EXTENSION whaply";
    scene.db.execute(&format!("{IMPATIENT}; {drop}"));
    wait_until_without_worker(&scene.db);
    gate.release();

    scene.db.execute("CREATE EXTENSION whaply; INSERT INTO whaply.tenants TABLE kept");
    wait_for_worker(&scene.db);
    scene.shop.customer_says(Person::maria(), "E o prazo?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 2 to: E o prazo?"]);
}

/// Ids begin anew with the extension, so that the old call's reply has a namesake.
#[test]
fn an_answer_for_a_dropped_extension_never_reaches_the_chats_of_the_next() {
    let scene = Scene::start(shared_cluster(), "replaced");
    let old_call = scene.ask_and_hold("Sou a pergunta antiga");
    scene.db.execute(
        "BEGIN; CREATE TEMP TABLE kept AS TABLE whaply.tenants; DROP EXTENSION whaply;
         CREATE EXTENSION whaply; INSERT INTO whaply.tenants TABLE kept; COMMIT",
    );
    let new_call = scene.llm.hold();
    scene.shop.customer_says(Person::joao(), "Sou a pergunta nova").delivered();
    new_call.wait_until_reached(PATIENCE);
    old_call.release();
    new_call.release();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 2 to: Sou a pergunta nova"]);
}

#[test]
fn a_chat_whose_rows_cannot_be_written_keeps_back_no_other_and_is_answered_once_they_can() {
    let scene = Scene::start(shared_cluster(), "poisoned");
    let pid = wait_for_worker(&scene.db);
    // Somebody's own rule: it lets the webhook in and stops the worker's claim.
    scene.db.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'the rule of the house'; END $$;
         CREATE TRIGGER house_rule BEFORE UPDATE ON whaply.messages FOR EACH ROW
             WHEN (NEW.chat_id LIKE '5511999990001%') EXECUTE FUNCTION refuse()",
    );
    let refused = scene.shop.customer_says(Person::maria(), "Não consigo").delivered();
    wait_until("the round to fail", PATIENCE, || {
        let log = shared_cluster().log();
        let failed = log.contains("could not finish a round: the rule of the house");
        if failed { Ok(()) } else { Err(log) }
    });
    for question in ["Consigo?", "E de novo?"] {
        let sent = scene.shop.sent().len();
        scene.shop.customer_says(Person::joao(), question).delivered();
        scene.shop.wait_for_sent(sent + 1, PATIENCE);
    }
    assert_eq!(scene.action(&refused.id).as_deref(), Some("ai_queued"));

    scene.db.execute("DROP TRIGGER house_rule ON whaply.messages");
    scene.shop.wait_for_sent(3, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&refused.id).as_deref(), Some("ai_replied"));
    assert_eq!(worker_pid(&scene.db), Some(pid), "it never went away");
}

/// Giving it up would leave the chat blocked by a send of unknown end.
#[test]
fn the_end_of_a_send_that_cannot_be_written_is_kept_until_it_can() {
    let scene = Scene::start(shared_cluster(), "unwritten");
    scene.db.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no assistants in this house'; END $$;
         CREATE TRIGGER house_rule BEFORE INSERT ON whaply.messages FOR EACH ROW
             WHEN (NEW.sender = 'assistant') EXECUTE FUNCTION refuse()",
    );
    let asked = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    wait_until("the round to fail", PATIENCE, || {
        shared_cluster().log().contains("no assistants in this house")
    });
    scene.db.execute("DROP TRIGGER house_rule ON whaply.messages");
    scene.wait_until_idle();
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    assert_eq!(scene.shop.sent().len(), 1);
    let lookups: i64 = scene.db.value("SELECT sum(lookups) FROM whaply.deliveries", &[]);
    assert_eq!(lookups, 0, "its end was never in doubt");
}

#[test]
fn a_forgotten_begin_in_one_chat_halts_no_other() {
    // Each of these rows is one that the worker writes or locks when it answers Maria.
    let held = [
        "SELECT FROM whaply.sessions WHERE chat_id LIKE '5511999990001%' FOR UPDATE",
        "SELECT FROM whaply.replies WHERE chat_id LIKE '5511999990001%' FOR UPDATE",
        "SELECT FROM whaply.messages WHERE chat_id LIKE '5511999990001%' FOR UPDATE",
    ];
    for (number, row) in held.into_iter().enumerate() {
        let scene = Scene::start(shared_cluster(), &format!("held_{number}"));
        wait_for_worker(&scene.db);
        assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
        let asked = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
        let mut forgotten = scene.db.connect();
        forgotten.batch_execute(&format!("BEGIN; {row}")).expect("the row is free");
        assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));

        scene.shop.customer_says(Person::joao(), "Tem alguém aí?").delivered();
        let sent = scene.shop.wait_for_sent(1, PATIENCE);
        assert!(sent[0].number.starts_with("5511999990002"), "{row}: {sent:?}");
        assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_queued"));

        forgotten.batch_execute("ROLLBACK").expect("the session is there");
        scene.shop.wait_for_sent(2, PATIENCE);
        scene.wait_until_idle();
        assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    }
}

#[test]
fn a_forgotten_begin_in_one_chat_halts_no_other_of_a_tenant_that_may_have_one_in_flight() {
    let options = SceneOptions::default().with("max_in_flight", "1");
    let scene = Scene::start_with(shared_cluster(), "held_only", options);
    wait_for_worker(&scene.db);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    let mut forgotten = scene.db.connect();
    let lock = "BEGIN; SELECT FROM whaply.sessions FOR UPDATE";
    forgotten.batch_execute(lock).expect("the row is free");
    let send = "SELECT whaply.send_message('loja-demo', '5511999990002', 'Bom dia!')";
    scene.db.value::<i64>(send, &[]);
    scene.shop.customer_says(Person::joao(), "Tem alguém aí?").delivered();
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    let sent = scene.shop.wait_for_sent(2, PATIENCE);
    assert!(sent.iter().all(|sent| sent.number.starts_with("5511999990002")), "{sent:?}");
    forgotten.batch_execute("ROLLBACK").expect("the session is there");
    scene.shop.wait_for_sent(3, PATIENCE);
}

#[test]
fn a_session_held_while_the_answer_comes_back_delays_that_answer_only() {
    let scene = Scene::start(shared_cluster(), "held_answer");
    let gate = scene.ask_and_hold("Qual o preço?");
    let mut forgotten = scene.db.connect();
    let lock = "BEGIN; SELECT FROM whaply.sessions FOR UPDATE";
    forgotten.batch_execute(lock).expect("the row is free");
    gate.release();
    scene.shop.customer_says(Person::joao(), "Tem alguém aí?").delivered();
    let sent = scene.shop.wait_for_sent(1, PATIENCE);
    assert!(sent[0].number.starts_with("5511999990002"), "{sent:?}");
    forgotten.batch_execute("ROLLBACK").expect("the session is there");
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.llm.requests().len(), 2, "the held answer was not generated again");
}

#[test]
fn a_database_can_be_dropped_once_its_worker_is_stopped() {
    let database = shared_cluster().create_database("doomed");
    wait_for_worker(&database);
    assert!(database.value::<bool>("SELECT whaply.stop_worker()", &[]));
    let mut client = shared_cluster().connect("postgres");
    let dropped = client.batch_execute(&format!("DROP DATABASE {}", database.name()));
    dropped.expect("nobody is connected to it");
    // The launcher goes on with the others.
    wait_for_worker(&shared_cluster().create_database("next"));
}
