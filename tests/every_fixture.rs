//! Everything Evolution is known to send, in any order, several times and at once, with the worker
//! answering all the while: every event acts once, and the rows are what the events say.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::Mutex;
use std::thread;

use fastrand::Rng;
use postgres::Row;
use serde_json::{Value, json};
use support::payload::{fixture, webhook_fixture};
use support::scene::SECRET_HEADER;
use support::{PATIENCE, Scene, SceneOptions, shared_cluster, wait_until};

/// Repeats a run: the seed that a failed one printed.
const SEED_VARIABLE: &str = "WHAPLY_TEST_SEED";

const CONNECTIONS: usize = 4;

/// Some Evolution servers show the instance's token in every webhook.
const EXPOSED_TOKEN: &str = "TOKEN-THAT-MUST-NOT-BE-STORED";

const CUSTOMER: &str = "5511999990001@s.whatsapp.net";
const CUSTOMER_LID: &str = "100000000000001@lid";

/// Ids that two fixtures share: whichever comes first is stored.
const ONE_ID_FOR_TWO: [&str; 2] = ["send.message.image", "send.message.location"];

/// (message id, event): what acts once.
type Key = (String, String);

/// One of the bodies to post, with what `expected.json` says of it.
struct Webhook {
    name: String,
    class: String,
    content: Option<String>,
    text: Option<String>,
    body: Value,
}

impl Webhook {
    fn of_fixture(file: &str, expected: &Value) -> Self {
        let name = file.trim_end_matches(".json");
        let text_of = |field: &str| expected[field].as_str().map(str::to_owned);
        let mut body = webhook_fixture(name);
        body["apikey"] = EXPOSED_TOKEN.into();
        Self {
            name: name.to_owned(),
            class: text_of("class").expect("every fixture has a class"),
            content: text_of("content"),
            text: text_of("text"),
            body,
        }
    }

    /// The message that an edit or a deletion among the fixtures speaks of, which is no fixture
    /// itself: `like` with that id and text.
    fn before_the_change(like: &Self, change: &Self, text: &str) -> Self {
        let data = &change.body["data"];
        let id = data["key"]["id"].as_str().or(data["id"].as_str()).expect("a change has an id");
        let mut body = like.body.clone();
        body["data"]["key"]["id"] = id.into();
        body["data"]["message"] = json!({ "conversation": text });
        Self {
            name: format!("what {} changes", change.name),
            class: like.class.clone(),
            content: like.content.clone(),
            text: Some(text.to_owned()),
            body,
        }
    }

    fn event(&self) -> &str {
        self.body["event"].as_str().expect("every webhook has an event")
    }

    fn id(&self) -> String {
        let data = &self.body["data"];
        let id = data["key"]["id"].as_str().or(data["id"].as_str());
        id.expect("a message has an id").to_owned()
    }

    /// What `processed_events` must say in the end, in any order of the events. None: no row.
    ///
    /// The owner's message and those of other senders pause the chat for good, so that a question
    /// may come before or after that, and its answer be sent or called off.
    fn row(&self) -> Option<(Key, &'static [&'static str])> {
        let key = |event: &str| (self.id(), event.to_owned());
        let of_message = |actions: &'static [&'static str]| Some((key(self.event()), actions));
        match (self.class.as_str(), self.content.as_deref()) {
            ("customer", _) if self.name == "messages.upsert.offline_append" => {
                of_message(&["ignored_old"])
            }
            ("customer", Some("question")) => of_message(&[
                "ai_replied",
                "cancelled_paused",
                "superseded",
                "ignored_paused",
                // Deleted by the customer before it came.
                "deleted",
            ]),
            ("customer" | "customer_reaction", _) => of_message(&["ignored_type"]),
            ("owner", _) => of_message(&["paused"]),
            ("api_send", _) if self.is_to_a_group() => of_message(&["ignored_group"]),
            ("api_send", _) => of_message(&["other_sender"]),
            ("group", _) => of_message(&["ignored_group"]),
            ("status_broadcast", _) => of_message(&["ignored_broadcast"]),
            ("edit", _) => Some((key("messages.edited"), &["edited", "edited_early"])),
            ("deletion", _) => Some((key("messages.delete"), &["deleted", "deleted_early"])),
            ("receipt" | "line" | "qr" | "aliases" | "history" | "other", _) => None,
            unknown => panic!("{}: no row of the table for {unknown:?}", self.name),
        }
    }

    fn is_to_a_group(&self) -> bool {
        self.body["data"]["key"]["remoteJid"].as_str().is_some_and(|jid| jid.ends_with("@g.us"))
    }

    /// `messages.sender`; None: it leaves no message.
    fn sender(&self) -> Option<&'static str> {
        match self.class.as_str() {
            "customer" | "customer_reaction" => Some("customer"),
            "owner" => Some("owner"),
            "api_send" if !self.is_to_a_group() => Some("other"),
            _ => None,
        }
    }
}

/// Every fixture, and the messages that its changes speak of.
fn webhooks() -> Vec<Webhook> {
    let expected = fixture("expected.json");
    let expected = expected.as_object().expect("an object of files");
    let mut all: Vec<Webhook> =
        expected.iter().map(|(file, expected)| Webhook::of_fixture(file, expected)).collect();
    let named = |name: &str| all.iter().find(|webhook| webhook.name == name).expect(name);
    let (customer, api) = (named("messages.upsert.conversation"), named("send.message.text"));
    let originals = [
        Webhook::before_the_change(customer, named("messages.edited.text"), "Quero 2"),
        Webhook::before_the_change(customer, named("messages.delete.customer_revoke"), "Ops"),
        Webhook::before_the_change(api, named("send.message.update"), "Custa 40"),
    ];
    all.extend(originals);
    all
}

fn seed() -> u64 {
    let given = env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("{SEED_VARIABLE}={seed}");
    seed
}

/// Posts the bodies in this order from several connections at once; each must be taken.
fn post_all(scene: &Scene, bodies: &[&Value]) {
    let secret = "SELECT webhook_secret FROM whaply.tenants WHERE id = $1";
    let secret: String = scene.db.value(secret, &[&scene.tenant_id]);
    let url = scene.relay.url();
    let queue = Mutex::new(bodies.iter());
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
                let client = config.timeout_global(Some(PATIENCE)).build().new_agent();
                loop {
                    let next = queue.lock().expect("no panic while it is locked").next();
                    let Some(body) = next else { return };
                    let request = client.post(&url).header(SECRET_HEADER, &secret);
                    let mut answer = request.send(body.to_string()).expect("an answer");
                    let said = answer.body_mut().read_to_string().expect("a body");
                    assert_eq!(answer.status(), 200, "{said} for {body}");
                }
            });
        }
    });
}

#[test]
fn every_webhook_in_any_order_several_times_and_at_once_acts_exactly_once() {
    play_everything("pause", &["owner", "other"]);
}

/// Only the owner pauses the chat, so that more answers go out before that.
#[test]
fn the_same_holds_where_other_senders_are_machines() {
    play_everything("ignore", &["owner"]);
}

/// `humans`: the senders that pause the chat.
fn play_everything(on_other_sender: &str, humans: &[&str]) {
    // Without a debounce some answers are out before the first human has written.
    let options = SceneOptions::default().with("debounce", "0 s");
    let options = options.with("on_other_sender", on_other_sender);
    let scene = Scene::start_with(shared_cluster(), "every_fixture", options);
    let webhooks = webhooks();
    let mut random = Rng::with_seed(seed());
    let mut bodies: Vec<&Value> = webhooks
        .iter()
        .flat_map(|webhook| std::iter::repeat_n(&webhook.body, random.usize(2..=3)))
        .collect();
    random.shuffle(&mut bodies);
    println!("{} bodies, {} posts", webhooks.len(), bodies.len());
    post_all(&scene, &bodies);
    wait_until_nothing_is_open(&scene);

    let sent: BTreeSet<String> = scene.shop.sent().into_iter().map(|sent| sent.id).collect();
    println!("{} answers went out meanwhile", sent.len());
    for id in &sent {
        scene.shop.wait_for_echo(id, PATIENCE);
    }
    assert_events(&scene, &webhooks, &sent);
    assert_messages(&scene, &webhooks, &sent);
    assert_answers(&scene);
    assert_session(&scene, &webhooks, humans);
    assert_what_is_not_stored(&scene, &webhooks);
}

/// `wait_until_idle` leaves out what waits for a closed line; the worker asks for its state.
fn wait_until_nothing_is_open(scene: &Scene) {
    wait_until("everything to be decided", PATIENCE, || {
        let open: Vec<String> = scene.db.column(
            "SELECT 'reply ' || state FROM whaply.replies
              WHERE state IN ('waiting', 'generating', 'sending')
             UNION ALL SELECT 'delivery ' || state FROM whaply.deliveries
              WHERE state IN ('pending', 'sending', 'uncertain')
             UNION ALL SELECT action_taken FROM whaply.processed_events
              WHERE action_taken IN ('pending_echo', 'ai_queued')",
            &[],
        );
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    });
}

fn assert_events(scene: &Scene, webhooks: &[Webhook], sent: &BTreeSet<String>) {
    let mut expected: BTreeMap<Key, &[&str]> = webhooks.iter().filter_map(Webhook::row).collect();
    let echoes = sent.iter().map(|id| ((id.clone(), "send.message".to_owned()), &["own_echo"][..]));
    expected.extend(echoes);
    let rows = "SELECT message_id, event_type, action_taken FROM whaply.processed_events";
    let rows = scene.db.rows(rows, &[]);
    let found: BTreeMap<Key, String> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    assert_eq!(found.len(), rows.len(), "one row for each (message, event)");
    let keys = |found: &BTreeMap<Key, _>| found.keys().cloned().collect::<Vec<_>>();
    let expected_keys: Vec<Key> = expected.keys().cloned().collect();
    assert_eq!(keys(&found), expected_keys);
    for (key, allowed) in expected {
        assert!(
            allowed.contains(&found[&key].as_str()),
            "{key:?}: {} is none of {allowed:?}",
            found[&key]
        );
    }
}

fn assert_messages(scene: &Scene, webhooks: &[Webhook], sent: &BTreeSet<String>) {
    let rows = scene.db.rows(
        "SELECT message_id, sender, from_me, text, raw, message_type, chat_id, sent_at,
                edited_at IS NOT NULL, deleted_at IS NOT NULL FROM whaply.messages",
        &[],
    );
    let mut found: BTreeMap<String, &Row> = rows.iter().map(|row| (row.get(0), row)).collect();
    assert_eq!(found.len(), rows.len(), "one row for each message");
    for id in sent {
        let row = found.remove(id).unwrap_or_else(|| panic!("what was sent as {id} is stored"));
        assert_eq!(row.get::<_, Option<&str>>(1), Some("assistant"));
    }
    let edits: BTreeMap<String, &Webhook> =
        webhooks.iter().filter(|w| w.class == "edit").map(|w| (w.id(), w)).collect();
    let deletions: BTreeSet<String> =
        webhooks.iter().filter(|w| w.class == "deletion").map(Webhook::id).collect();
    for webhook in webhooks.iter().filter(|webhook| webhook.sender().is_some()) {
        let id = webhook.id();
        let Some(row) = found.remove(&id) else {
            assert!(ONE_ID_FOR_TWO.contains(&webhook.name.as_str()), "{} is missing", webhook.name);
            continue;
        };
        let raw: Value = row.get(4);
        // Of two with one id, the payload that was stored says which came first.
        let kind = raw["data"]["messageType"].as_str();
        let stored = webhooks.iter().find(|other| {
            other.sender().is_some()
                && other.id() == id
                && other.body["data"]["messageType"].as_str() == kind
        });
        let stored = stored.unwrap_or_else(|| panic!("{id} has the payload of another: {raw}"));
        let text = edits.get(&id).map_or(&stored.text, |edit| &edit.text);
        assert_eq!(row.get::<_, Option<String>>(3), *text, "{}", stored.name);
        assert_eq!(row.get::<_, Option<&str>>(1), stored.sender(), "{}", stored.name);
        assert_eq!(row.get::<_, bool>(2), stored.sender() != Some("customer"), "{}", stored.name);
        assert_eq!(row.get::<_, Option<&str>>(5), kind, "{}", stored.name);
        assert_eq!(row.get::<_, &str>(6), CUSTOMER, "{}", stored.name);
        let at = stored.body["data"]["messageTimestamp"].as_i64();
        let sent_at = row.get::<_, chrono::DateTime<chrono::Utc>>(7);
        assert_eq!(Some(sent_at.timestamp()), at, "{}", stored.name);
        assert_eq!(row.get::<_, bool>(8), edits.contains_key(&id), "{}", stored.name);
        assert_eq!(row.get::<_, bool>(9), deletions.contains(&id), "{}", stored.name);
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "nothing else is stored");
}

/// What was answered was answered by a reply that went out, and nothing else was.
fn assert_answers(scene: &Scene) {
    let unanswered: Vec<String> = scene.db.column(
        "SELECT m.message_id::text FROM whaply.processed_events e
           JOIN whaply.messages m USING (tenant_id, message_id)
           LEFT JOIN whaply.replies r ON r.id = m.reply_id
          WHERE e.event_type = 'messages.upsert'
            AND (e.action_taken = 'ai_replied') <> coalesce(r.state = 'sent', false)",
        &[],
    );
    assert_eq!(unanswered, Vec::<String>::new());
    let counts = "SELECT count(*) FILTER (WHERE state = 'sent') FROM whaply.deliveries";
    assert_eq!(scene.db.value::<i64>(counts, &[]), scene.shop.sent().len() as i64);
}

/// All that was said was said in one chat, where humans have the last word.
fn assert_session(scene: &Scene, webhooks: &[Webhook], humans: &[&str]) {
    let latest = |senders: &[&str]| {
        let of_sender =
            webhooks.iter().filter(|w| w.sender().is_some_and(|s| senders.contains(&s)));
        of_sender.filter_map(|w| w.body["data"]["messageTimestamp"].as_i64()).max()
    };
    let rows = scene.db.rows(
        "SELECT chat_id, is_paused, pause_reason, last_message_at, last_human_at FROM whaply.sessions",
        &[],
    );
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!((row.get(0), row.get(1)), (CUSTOMER, true));
    assert!(["human_takeover", "other_sender"].contains(&row.get(2)), "{row:?}");
    let seconds = |column| row.get::<_, chrono::DateTime<chrono::Utc>>(column).timestamp();
    assert_eq!(Some(seconds(3)), latest(&["customer"]));
    assert_eq!(Some(seconds(4)), latest(humans));
    let aliases = "SELECT jid::text FROM whaply.chat_aliases WHERE chat_id = $1 AND jid <> $1";
    assert_eq!(scene.db.column::<String>(aliases, &[&CUSTOMER]), [CUSTOMER_LID]);
}

fn assert_what_is_not_stored(scene: &Scene, webhooks: &[Webhook]) {
    let files = webhooks.iter().filter_map(|w| w.body["data"]["message"]["base64"].as_str());
    let mut absent: BTreeSet<&str> = files.collect();
    assert!(!absent.is_empty(), "some fixture carries a file");
    absent.extend(["\"apikey\"", EXPOSED_TOKEN]);
    for part in absent {
        let found = "SELECT count(*) FROM whaply.messages WHERE strpos(raw::text, $1) > 0";
        assert_eq!(scene.db.value::<i64>(found, &[&part]), 0, "{part}");
    }
}
