//! A copy of a scene's database, however it was made: what shows that it stays silent, and that it speaks
//! once it was told that it is the one. It makes none.

use crate::database::Database;
use crate::relay::Relay;
use crate::rows::PATIENCE;
use crate::scene::{Scene, insert_tenant, webhook_of};
use crate::wait::wait_until;
use crate::worker::wait_for_worker;

const ANSWERED: &str = "5511999990001";
const WAITING: &str = "5511999990005";
const TOO_OLD: &str = "5511999990006";
const ASKED_IN_THE_COPY: &str = "5511999990007";

/// A chat that was answered, and two that wait for the debounce's end: one of them for too long already.
#[track_caller]
pub fn leave_questions_open(scene: &Scene) {
    let shop = &scene.shop;
    shop.customer_says(ANSWERED, "Abrem aos domingos?").delivered();
    shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    scene.db.execute("UPDATE whaply.tenants SET debounce = '1 hour', debounce_max = '1 hour'");
    shop.customer_says(WAITING, "Tem alguém?").delivered();
    shop.customer_says(TOO_OLD, "Alô?").delivered();
    scene.db.execute(&format!(
        "UPDATE whaply.replies SET created_at = now() - interval '2 hours' WHERE chat_id LIKE '{TOO_OLD}%'"
    ));
}

/// The tenants of which health says that they are served elsewhere.
#[track_caller]
pub fn served_elsewhere(copy: &Database) -> Vec<String> {
    copy.column("SELECT instance_name::text FROM whaply.health WHERE subject = 'home'", &[])
}

/// Shows that a worker looks at the copy's tables, finds what is the copy's own, and leaves the scene's
/// tenant alone, whose webhooks are taken here from now on.
#[track_caller]
pub fn assert_silent(scene: &Scene, copy: &Database) -> Relay {
    wait_for_worker(copy);
    let relay = Relay::start(copy);
    copy.execute("UPDATE whaply.tenants SET debounce = '0', debounce_max = '0'");
    copy.execute("UPDATE whaply.replies SET due_at = now() WHERE state = 'waiting'");
    scene.shop.set_webhook(webhook_of(copy, scene.tenant_id, &relay.url()));
    let calls = (scene.llm.requests().len(), scene.shop.sent().len());
    let asked = scene.shop.customer_says(ASKED_IN_THE_COPY, "E aqui, tem alguém?").delivered();
    assert_eq!(asked.answer().json()["action"], "ai_queued", "it is stored");
    answer_for_a_tenant_of_its_own(scene, copy, &relay);
    assert_eq!((scene.llm.requests().len(), scene.shop.sent().len()), (calls.0 + 1, calls.1));
    assert_eq!(served_elsewhere(copy), [scene.shop.name()]);
    relay
}

#[track_caller]
pub fn answer_for_a_tenant_of_its_own(scene: &Scene, copy: &Database, relay: &Relay) {
    let other = scene.evolution.create_instance("loja-nova");
    let columns = [
        ("instance_name", other.name().to_owned()),
        ("evo_server_url", scene.evolution.url()),
        ("evo_api_key", other.token().to_owned()),
        ("llm_provider", "openai".to_owned()),
        ("llm_base_url", format!("{}/v1", scene.llm.url())),
        ("debounce", "0".to_owned()),
    ];
    let columns = columns.map(|(name, value)| (name.to_owned(), value));
    let tenant_id = insert_tenant(copy, &columns);
    other.set_webhook(webhook_of(copy, tenant_id, &relay.url()));
    other.customer_says(ASKED_IN_THE_COPY, "Oi?").delivered();
    other.wait_for_sent(1, PATIENCE);
}

/// Of the questions that were left open, each has its answer from here, but for the one that is too old.
#[track_caller]
pub fn assert_speaks_once_adopted(scene: &Scene, copy: &Database) {
    assert_eq!(copy.value::<i64>("SELECT whaply.adopt_tenants()", &[]), 1);
    let open = "SELECT coalesce(string_agg(split_part(chat_id, '@', 1) || ' ' || state, ', '), '')
                  FROM whaply.replies WHERE state NOT IN ('sent', 'failed')";
    wait_until("the copy to finish what was open", PATIENCE, || {
        let open: String = copy.value(open, &[]);
        if open.is_empty() { Ok(()) } else { Err(open) }
    });
    let mut answered: Vec<String> =
        scene.shop.sent().iter().map(|sent| sent.number[..ANSWERED.len()].to_owned()).collect();
    answered.sort();
    assert_eq!(answered, [ANSWERED, WAITING, ASKED_IN_THE_COPY]);
    let failed = "SELECT split_part(chat_id, '@', 1) FROM whaply.replies WHERE state = 'failed'";
    assert_eq!(copy.column::<String>(failed, &[]), [TOO_OLD]);
    assert_eq!(served_elsewhere(copy), Vec::<String>::new());
}
