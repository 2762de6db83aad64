//! The way in through the server's own listener: what comes is stored and answered, and each status
//! is the one that Evolution's retry rules ask for. Limits and life of the listener are elsewhere.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use std::thread;

use support::listener::{
    Answer, cluster_with_listener, connect, free_address, get, message, read_answer, request,
    silent_tenant, wait_until_well,
};
use support::scene::{SECRET_HEADER, webhook_of};
use support::{Cluster, ClusterOptions, PATIENCE, Scene, wait_until};

const METRICS_TOKEN: &str = "token-of-the-metrics";

/// One server with one database for all tests here, each with a tenant of its own.
struct Door {
    address: SocketAddr,
    scene: Scene,
    cluster: Cluster,
    _token: tempfile::NamedTempFile,
}

fn door() -> &'static Door {
    static DOOR: OnceLock<Door> = OnceLock::new();
    DOOR.get_or_init(|| {
        let address = free_address();
        let token = tempfile::NamedTempFile::new().expect("a file");
        fs::write(token.path(), METRICS_TOKEN).expect("its text");
        fs::set_permissions(token.path(), fs::Permissions::from_mode(0o644)).expect("readable");
        let source = format!("file:{}", token.path().display());
        let options = ClusterOptions::default().with("whaply.metrics_token", &source);
        // These tests are refused more often than anybody should be.
        let cluster =
            cluster_with_listener(address, options.with("whaply.refused_per_minute", "0"));
        let scene = Scene::start(&cluster, "door");
        wait_until_well(address);
        Door { address, scene, cluster, _token: token }
    })
}

impl Door {
    fn tenant(&self, instance: &str) -> String {
        silent_tenant(&self.scene.db, instance)
    }

    fn post(&self, path: &str, secret: &str, body: &str) -> Answer {
        request(self.address, "POST", path, &[(SECRET_HEADER, secret)], body.as_bytes())
    }

    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        request(self.address, "GET", path, headers, b"")
    }

    fn has_stored(&self, id: &str) -> bool {
        let sql = "SELECT count(*) > 0 FROM whaply.messages WHERE message_id = $1";
        self.scene.db.value(sql, &[&id])
    }
}

/// What Evolution 2.3.6 never sends again.
fn is_dropped_for_ever(answer: &Answer) -> bool {
    [400, 401, 403, 404, 422].contains(&answer.status)
}

#[test]
fn a_conversation_runs_through_the_listener_alone() {
    let Door { address, scene, .. } = door();
    for (url, by_events) in [
        (format!("http://{address}/webhook"), false),
        (format!("http://{address}/webhook/loja-demo"), true),
    ] {
        let mut webhook = webhook_of(&scene.db, scene.tenant_id, &url);
        webhook.by_events = by_events;
        scene.shop.set_webhook(webhook);
        let answered = scene.shop.sent().len();
        let asked = scene.shop.customer_says("5511999990009", "Qual o preço?").delivered();
        assert_eq!(asked.answer().json()["action"], "ai_queued");
        scene.shop.wait_for_sent(answered + 1, PATIENCE);
        scene.wait_until_idle();
        assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    }
}

#[test]
fn a_webhook_is_taken_once_and_answered_as_the_first_was() {
    let secret = door().tenant("once");
    let body = message("once", "ONCE-1", "Oi").to_string();
    let first = door().post("/webhook", &secret, &body);
    let again = door().post("/webhook/once/messages-upsert", &secret, &body);
    assert_eq!((first.status, again.status), (200, 200), "{first:?} {again:?}");
    assert_eq!(first.json()["duplicate"], false);
    assert_eq!(again.json()["duplicate"], true);
    assert_eq!(first.json()["action"], again.json()["action"]);
}

#[test]
fn what_is_no_event_is_answered_so_that_it_never_comes_again() {
    let secret = door().tenant("no-event");
    let other = message("no-event", "OTHER-1", "Oi").to_string();
    for (path, body) in [
        ("/webhook", "no JSON"),
        ("/webhook", ""),
        ("/webhook", "[]"),
        ("/webhook", r#"{"instance":"no-event","data":{}}"#),
        ("/webhook", r#"{"event":"messages.upsert","data":{}}"#),
        ("/webhook", r#"{"event":"messages.upsert","instance":"no-event","data":{}}"#),
        ("/webhook/another-instance", &other),
    ] {
        let answer = door().post(path, &secret, body);
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
        assert!(answer.json()["hint"].is_string(), "{answer:?}");
    }
    let headers = [(SECRET_HEADER, secret.as_str()), ("content-encoding", "gzip")];
    let answer = request(door().address, "POST", "/webhook", &headers, other.as_bytes());
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(!door().has_stored("OTHER-1"));
}

#[test]
fn http_that_is_odd_and_right_is_taken_and_a_body_that_broke_off_comes_again() {
    let secret = door().tenant("odd");
    let body = message("odd", "ODD-1", "Oi").to_string();
    let (size, length) = (format!("{:x}", body.len()), body.len());
    let post = |target: &str, rest: &str| {
        let mut connection = connect(door().address).expect("the listener accepts");
        let text = format!("POST {target} HTTP/1.1\r\n{SECRET_HEADER}: {secret}\r\n{rest}");
        connection.write_all(text.as_bytes()).expect("it reads");
        connection.shutdown(Shutdown::Write).expect("an open connection");
        read_answer(&mut connection).expect("an answer")
    };
    let with_length = format!("content-length: {length}\r\n\r\n{body}");
    let chunked = "transfer-encoding: chunked\r\n";
    for (target, rest, status) in [
        ("http://another.example/webhook/odd?x=1", with_length.clone(), 200),
        ("//webhook//%6fdd", with_length.clone(), 200),
        ("/webhook", format!("content-encoding: Identity\r\n{with_length}"), 200),
        ("/webhook", format!("{chunked}\r\n{size}\r\n{body}\r\n0\r\nx-after: all\r\n\r\n"), 200),
        ("/webhook", format!("{chunked}\r\n{size}\r\n{body}"), 503),
        ("/webhook", format!("{chunked}\r\nno size\r\n{body}\r\n0\r\n\r\n"), 503),
        ("/webhook", format!("content-length: {}\r\n\r\n{body}", length + 1), 503),
        ("/webhook", format!("content-length: 1\r\n{with_length}"), 400),
    ] {
        let answer = post(target, &rest);
        assert_eq!(answer.status, status, "{target} {rest}: {answer:?}");
    }
}

#[test]
fn only_who_has_the_secret_may_post() {
    let secret = door().tenant("guarded");
    let body = message("guarded", "GUARDED-1", "Oi").to_string();
    let bearer = format!("Bearer {secret}");
    for (headers, status) in [
        (vec![], 401),
        (vec![(SECRET_HEADER, "wrong")], 401),
        (vec![("authorization", "Bearer wrong")], 401),
        (vec![(SECRET_HEADER, secret.as_str())], 200),
        (vec![("authorization", bearer.as_str())], 200),
    ] {
        let answer = request(door().address, "POST", "/webhook", &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(!answer.body.contains(&secret));
    }
    let stranger = message("nobody-has-this", "STRANGER-1", "Oi").to_string();
    let answer = door().post("/webhook", &secret, &stranger);
    assert_eq!(answer.status, 404, "{answer:?}");
    wait_until("the refused posts to be counted", PATIENCE, || {
        let sql = "SELECT count(*) FROM whaply.refused_webhooks r JOIN whaply.tenants t ON t.id = r.tenant_id
                    WHERE t.instance_name = 'guarded' AND reason IN ('wrong_secret', 'no_secret')";
        door().scene.db.value::<i64>(sql, &[]) == 2
    });
}

/// What Evolution makes of `jwt_key` once an event, and sends with each retry of it.
#[test]
fn evolutions_own_token_is_as_good_as_the_secret_also_where_it_has_just_expired() {
    door().tenant("tokens");
    door().scene.db.execute(
        "UPDATE whaply.tenants SET webhook_jwt_key = 'key-of-the-webhook' WHERE instance_name = 'tokens'",
    );
    for (number, (key, minutes_ago, status)) in [
        ("key-of-the-webhook", 0, 200),
        ("key-of-the-webhook", 25, 200),
        ("key-of-the-webhook", 120, 401),
        ("another-key", 0, 401),
    ]
    .into_iter()
    .enumerate()
    {
        let made_at = chrono::Utc::now().timestamp() - minutes_ago * 60;
        let claims = serde_json::json!({
            "iat": made_at, "exp": made_at + 600, "app": "evolution", "action": "webhook",
        });
        let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key);
        let bearer = format!("Bearer {}", token.expect("a token"));
        let body = message("tokens", &format!("TOKEN-{number}"), "Oi").to_string();
        let headers = [("authorization", bearer.as_str())];
        let answer = request(door().address, "POST", "/webhook", &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{minutes_ago} minutes: {answer:?}");
    }
}

#[test]
fn other_paths_and_methods_are_told_so() {
    for (method, path, status) in [
        ("GET", "/webhook", 405),
        ("PUT", "/webhook/loja/messages-upsert", 405),
        ("POST", "/healthz", 405),
        ("POST", "/", 404),
        ("GET", "/webhooks", 404),
    ] {
        let answer = request(door().address, method, path, &[], b"");
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{answer:?}");
    }
}

#[test]
fn what_fails_in_the_database_fails_alone_and_the_rest_of_its_batch_is_stored() {
    let secret = door().tenant("poisoned");
    door().scene.db.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'the rule of the house' USING ERRCODE = NEW.text; END $$;
         CREATE TRIGGER house_rule BEFORE INSERT ON whaply.messages FOR EACH ROW
             WHEN (NEW.message_id LIKE 'POISON%') EXECUTE FUNCTION refuse()",
    );
    let answers = thread::scope(|scope| {
        let posts = (0..40).map(|number| {
            let (id, text) = match number {
                7 => ("POISON-EVER".to_owned(), "22023"),
                23 => ("POISON-NOW".to_owned(), "40P01"),
                _ => (format!("WELL-{number}"), "Oi"),
            };
            let body = message("poisoned", &id, text).to_string();
            let secret = &secret;
            scope.spawn(move || (id, door().post("/webhook", secret, &body)))
        });
        let posts: Vec<_> = posts.collect();
        posts.into_iter().map(|post| post.join().expect("an answer")).collect::<Vec<_>>()
    });
    for (id, answer) in answers {
        let expected = match id.as_str() {
            "POISON-EVER" => 400,
            "POISON-NOW" => 503,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{id}: {answer:?}");
        assert_eq!(answer.header("retry-after").is_some(), expected == 503, "{answer:?}");
        assert_eq!(is_dropped_for_ever(&answer), expected == 400);
        assert_eq!(door().has_stored(&id), expected == 200, "{id}");
    }
}

#[test]
fn an_instance_may_have_a_name_that_a_path_must_encode() {
    let secret = door().tenant("Loja do João/2");
    let body = message("Loja do João/2", "ENCODED-1", "Oi").to_string();
    let answer = door().post("/webhook/Loja%20do%20Jo%C3%A3o%2F2/messages-upsert", &secret, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn metrics_are_for_the_own_machine_or_for_the_token() {
    let secret = door().tenant("counted");
    let body = message("counted", "COUNTED-1", "Oi").to_string();
    assert_eq!(door().post("/webhook", &secret, &body).status, 200);
    let answer = get(door().address, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    for name in [
        "whaply_http_requests_total{status=\"200\"}",
        "whaply_events_total{",
        "whaply_batch_events_count",
        "whaply_ingest_seconds_bucket",
        "whaply_connections",
        "whaply_queue_events",
        "whaply_reply_overdue_seconds",
    ] {
        assert!(answer.body.contains(name), "{name} is not in {}", answer.body);
    }
    let forwarded = ("x-forwarded-for", "192.0.2.1");
    let bearer = format!("Bearer {METRICS_TOKEN}");
    assert_eq!(door().get_with("/metrics", &[forwarded]).status, 403);
    let wrong = ("authorization", "Bearer wrong");
    assert_eq!(door().get_with("/metrics", &[forwarded, wrong]).status, 403);
    let right = ("authorization", bearer.as_str());
    assert_eq!(door().get_with("/metrics", &[forwarded, right]).status, 200);
    assert!(!door().cluster.log().contains(METRICS_TOKEN));
}

#[test]
fn a_chat_that_somebody_has_locked_keeps_back_no_other() {
    let (stuck, free) = (door().tenant("stuck"), door().tenant("free"));
    let post = |instance: &str, secret: &str, id: &str| {
        door().post("/webhook", secret, &message(instance, id, "Oi").to_string())
    };
    assert_eq!(post("stuck", &stuck, "STUCK-0").status, 200);
    let mut forgotten = door().scene.db.connect();
    let lock = "BEGIN; SELECT FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id
                 WHERE t.instance_name = 'stuck' FOR UPDATE OF s";
    forgotten.batch_execute(lock).expect("the row is free");
    // The same customer again, under another id.
    let mut again = message("stuck", "STUCK-0", "E aí?");
    again["data"]["key"]["id"] = "STUCK-1".into();
    let again = again.to_string();
    for round in 0..3 {
        let answers = thread::scope(|scope| {
            let stuck_post = scope.spawn(|| door().post("/webhook", &stuck, &again));
            let free_post = scope.spawn(|| post("free", &free, &format!("FREE-{round}")));
            let other_post = scope.spawn(|| post("stuck", &stuck, &format!("OTHER-CHAT-{round}")));
            [stuck_post, free_post, other_post].map(|post| post.join().expect("an answer").status)
        });
        assert_eq!(answers, [503, 200, 200]);
    }
    forgotten.batch_execute("COMMIT").expect("the session is there");
    assert_eq!(door().post("/webhook", &stuck, &again).status, 200);
}
