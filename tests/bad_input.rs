//! What fuzzing has kept, given to a real server: it is stored whole or refused, and no process of the
//! server minds. And what every way in must take alike.

use std::fs;
use std::path::{Path, PathBuf};

use postgres::Client;
use serde_json::json;
use support::listener::{
    cluster_with_listener, free_address, request, silent_tenant, wait_until_well,
};
use support::scene::SECRET_HEADER;
use support::{ClusterOptions, Database, shared_cluster};

/// The instances that the kept webhooks name.
const INSTANCES: [&str; 2] = ["loja-demo", "loja"];

/// A data exception, a limit of a value, an instance that nobody has: the event itself is to blame.
const BLAMES_THE_EVENT: [&str; 3] = ["22", "54", "P0002"];

fn kept_webhooks() -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let folders = ["corpus/webhook", "regressions/webhook"].map(|folder| fuzz.join(folder));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("an input"));
    let mut kept: Vec<_> = entries.map(|entry| read(entry.expect("an entry").path())).collect();
    kept.sort();
    assert!(kept.len() > 20, "{} inputs", kept.len());
    kept
}

fn rows(db: &mut Client) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM whaply.messages) + (SELECT count(*) FROM whaply.processed_events) \
               + (SELECT count(*) FROM whaply.sessions) + (SELECT count(*) FROM whaply.replies)";
    db.query_one(sql, &[]).expect("the tables").get(0)
}

fn assert_what_is_stored_is_sound(db: &Database) {
    let stored: i64 = db.value("SELECT count(*) FROM whaply.messages", &[]);
    assert!(stored > 0, "some are good");
    // What somebody said may hold such words, but with a backslash before each quotation mark.
    let unsound = r#"SELECT count(*) FROM whaply.messages
                      WHERE raw::text::jsonb IS DISTINCT FROM raw OR raw::text ~* '"api[-_]?key":'"#;
    assert_eq!(db.value::<i64>(unsound, &[]), 0);
}

#[test]
fn whatever_is_posted_is_stored_whole_or_refused_and_the_listener_goes_on() {
    let address = free_address();
    let options = ClusterOptions::default().with("whaply.refused_per_minute", "0");
    let cluster = cluster_with_listener(address, options);
    let db = cluster.create_database("bad_posts");
    let [secret, _] = INSTANCES.map(|instance| silent_tenant(&db, instance));
    wait_until_well(address);
    let listener = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'whaply listener'";
    let before: i32 = db.value(listener, &[]);
    let mut session = db.connect();
    for (path, body) in kept_webhooks() {
        let rows_before = rows(&mut session);
        let answer = request(address, "POST", "/webhook", &[(SECRET_HEADER, &secret)], &body);
        // The secret is that of one of the two tenants only.
        assert!(matches!(answer.status, 200 | 400 | 401 | 404), "{}: {answer:?}", path.display());
        if answer.status != 200 {
            assert_eq!(rows(&mut session), rows_before, "{}", path.display());
        }
    }
    assert_eq!(db.value::<i32>(listener, &[]), before, "the same process");
    assert_what_is_stored_is_sound(&db);
}

#[test]
fn whatever_is_ingested_is_stored_whole_or_refused_for_what_it_is() {
    let db = shared_cluster().create_database("bad_ingest");
    let _ = INSTANCES.map(|instance| silent_tenant(&db, instance));
    let mut session = db.connect();
    for (path, body) in kept_webhooks() {
        let (path, text) = (path.display(), String::from_utf8_lossy(&body));
        let rows_before = rows(&mut session);
        let outcome = session.execute("SELECT whaply.ingest($1::text::jsonb)", &[&text]);
        if let Err(error) = outcome {
            let state = error.code().unwrap_or_else(|| panic!("{path}: {error:?}")).code();
            assert!(
                BLAMES_THE_EVENT.iter().any(|class| state.starts_with(class)),
                "{path}: {error:?}"
            );
            assert_eq!(rows(&mut session), rows_before, "{path}");
        }
    }
    assert_what_is_stored_is_sound(&db);
}

/// The JSON library's own name for numbers, where a payload has it as the first name of an object.
const CALLED_AS_NUMBERS: [(&str, bool); 8] = [
    (
        r#"{"event":E,"instance":I,"data":{"key":K,"message":{"conversation":"Oi","a":{N:"7"}}}}"#,
        true,
    ),
    (
        r#"{"event":E,"instance":I,"data":{"key":K,"message":{"conversation":"Oi","a":[{N:{},"b":1}]}}}"#,
        true,
    ),
    (r#"{"event":E,"instance":I,"data":{"key":K,"message":{N:1e400,"conversation":"Oi"}}}"#, true),
    (
        r#"{"event":E,"instance":I,"data":{N:"x","key":{N:"1","id":"ID","remoteJid":"1@lid"}}}"#,
        true,
    ),
    (r#"{N:"1","event":E,"instance":I,"data":{"key":K,"message":{"conversation":"Oi"}}}"#, true),
    (r#"{"event":E,"instance":I,"data":{"key":{"id":{N:"12"},"remoteJid":"1@lid"}}}"#, false),
    (r#"{"event":E,"instance":I,"data":{N:"1"}}"#, false),
    (r#"{N:"1"}"#, false),
];

fn payload(template: &str, id: &str) -> String {
    let template = template.replace("{N:", r#"{"$serde_json::private::Number":"#);
    let key = json!({"id": id, "remoteJid": "1@lid"}).to_string();
    let named = template.replace(":K", &format!(":{key}")).replace("\"ID\"", &format!("\"{id}\""));
    named.replace(":E", r#":"messages.upsert""#).replace(":I", r#":"loja""#)
}

#[test]
fn an_object_called_as_numbers_are_is_the_same_by_every_way_in() {
    let address = free_address();
    let options = ClusterOptions::default().with("whaply.refused_per_minute", "0");
    let cluster = cluster_with_listener(address, options);
    let db = cluster.create_database("called_as_numbers");
    let secret = silent_tenant(&db, "loja");
    wait_until_well(address);
    let mut session = db.connect();
    let headers = json!({SECRET_HEADER: secret}).to_string();
    session.execute("SELECT set_config('request.headers', $1, false)", &[&headers]).expect("set");
    for (place, (template, is_good)) in CALLED_AS_NUMBERS.into_iter().enumerate() {
        for way in ["post", "ingest", "webhook"] {
            let id = format!("{way}-{place}");
            let text = payload(template, &id);
            let is_taken = match way {
                "post" => {
                    let headers = [(SECRET_HEADER, secret.as_str())];
                    let body = text.as_bytes();
                    request(address, "POST", "/webhook/loja", &headers, body).status == 200
                }
                "ingest" => {
                    session.execute("SELECT whaply.ingest($1::text::jsonb)", &[&text]).is_ok()
                }
                _ => session.execute("SELECT whaply.webhook($1::text::json)", &[&text]).is_ok(),
            };
            assert_eq!(is_taken, is_good, "{way}: {text}");
            let stored = "SELECT count(*) FROM whaply.messages WHERE message_id = $1 AND raw = $2::text::jsonb";
            assert_eq!(db.value::<i64>(stored, &[&id, &text]) == 1, is_good, "{way}: {text}");
        }
    }
    let good = CALLED_AS_NUMBERS.iter().filter(|(_, is_good)| *is_good).count();
    let stored: i64 = db.value("SELECT count(*) FROM whaply.messages", &[]);
    assert_eq!(usize::try_from(stored).ok(), Some(3 * good), "nothing else");
}
