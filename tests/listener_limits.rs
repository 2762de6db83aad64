//! What the listener lets in: nobody who is slow, large, quick or a stranger keeps anybody else out.
//! The tests share a server whose settings are the limits, so one at a time.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use support::listener::{
    Answer, cluster_with_listener, connect, free_address, get, message, read_answer, request, send,
    silent_tenant, wait_until_well,
};
use support::scene::SECRET_HEADER;
use support::{Cluster, ClusterOptions, Database, PATIENCE, wait_until};

struct Door {
    address: SocketAddr,
    db: Database,
    cluster: Cluster,
}

/// The server, for this test alone as long as the guard lives.
fn door() -> (&'static Door, MutexGuard<'static, ()>) {
    static DOOR: OnceLock<Door> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let door = DOOR.get_or_init(|| {
        let address = free_address();
        let options = ClusterOptions::default()
            .with("whaply.max_body", "64kB")
            .with("whaply.header_timeout", "1s")
            .with("whaply.body_timeout", "1s")
            .with("whaply.refused_per_minute", "0");
        let cluster = cluster_with_listener(address, options);
        let db = cluster.create_database("limits");
        wait_until_well(address);
        Door { address, db, cluster }
    });
    (door, alone)
}

impl Door {
    fn post(&self, secret: &str, body: &str) -> Answer {
        request(self.address, "POST", "/webhook", &[(SECRET_HEADER, secret)], body.as_bytes())
    }

    /// A setting of the server, when the listener goes by it.
    fn set_and_wait(&self, setting: &str, value: &str, is_in_force: impl Fn() -> bool) {
        self.cluster.set(setting, value);
        wait_until(setting, PATIENCE, is_in_force);
    }
}

#[test]
fn who_takes_too_long_for_a_request_is_cut_off_and_others_are_served() {
    let (door, _alone) = door();
    let slow = [
        "POST /webhook HTTP/1.1\r\nhost: x\r\n",
        "POST /webhook HTTP/1.1\r\ncontent-length: 9\r\n\r\n{",
    ];
    let mut slow = slow.map(|begun| {
        let mut connection = connect(door.address).expect("the listener accepts");
        connection.write_all(begun.as_bytes()).expect("it reads");
        connection
    });
    assert_eq!(get(door.address, "/healthz").status, 200);
    for connection in &mut slow {
        let mut answer = Vec::new();
        // A cut connection ends, or is reset.
        let _ = connection.read_to_end(&mut answer);
        assert_eq!(String::from_utf8_lossy(&answer), "");
    }
    assert_eq!(get(door.address, "/healthz").status, 200);
}

#[test]
fn idle_connections_make_room_for_a_request() {
    let (door, _alone) = door();
    door.cluster.set("whaply.max_clients", "10");
    let mut idle: Vec<_> = (0..30)
        .map(|_| {
            let mut connection = connect(door.address).expect("the listener accepts");
            send(&mut connection, "GET", "/healthz", &[], b"").expect("it reads");
            let answer = read_answer(&mut connection).expect("an answer");
            assert_eq!(answer.status, 200, "{answer:?}");
            connection
        })
        .collect();
    let mut rest = Vec::new();
    // The first had to go; the last is still open.
    let _ = idle.remove(0).read_to_end(&mut rest);
    let last = idle.last_mut().expect("there are many");
    send(last, "GET", "/healthz", &[], b"").expect("it reads");
    assert_eq!(read_answer(last).expect("an answer").status, 200);
    door.cluster.set("whaply.max_clients", "1000");
}

#[test]
fn a_webhook_that_is_too_large_is_refused_for_ever_and_said_once() {
    let (door, _alone) = door();
    let secret = silent_tenant(&door.db, "large");
    let fits = message("large", "LARGE-0", &"x".repeat(50_000)).to_string();
    assert_eq!(door.post(&secret, &fits).status, 200);
    let large = message("large", "LARGE-1", &"x".repeat(300_000)).to_string();
    for _ in 0..2 {
        let answer = door.post(&secret, &large);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.json()["error"], "too_large");
    }
    // Without a length, as a proxy may send it.
    let mut connection = connect(door.address).expect("the listener accepts");
    let head = format!(
        "POST /webhook HTTP/1.1\r\n{SECRET_HEADER}: {secret}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("it reads");
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    connection.write_all(chunked.as_bytes()).expect("it reads to the end");
    assert_eq!(read_answer(&mut connection).expect("an answer").status, 400);
    wait_until("the refused posts to be counted", PATIENCE, || {
        let sql = "SELECT coalesce(sum(refused), 0)::bigint FROM whaply.refused_webhooks r
                     JOIN whaply.tenants t ON t.id = r.tenant_id
                    WHERE t.instance_name = 'large' AND reason = 'too_large'";
        door.db.value::<i64>(sql, &[]) == 3
    });
    let log = door.cluster.log();
    assert_eq!(
        log.matches("a webhook of large is larger than whaply.max_body").count(),
        1,
        "{log}"
    );
    let stored: Vec<String> = door
        .db
        .column("SELECT message_id::text FROM whaply.messages WHERE message_id LIKE 'LARGE%'", &[]);
    assert_eq!(stored, ["LARGE-0"]);
}

#[test]
fn headers_that_are_too_large_are_refused() {
    let (door, _alone) = door();
    let large = "x".repeat(20_000);
    let answer = request(door.address, "GET", "/healthz", &[("x-large", &large)], b"");
    assert_eq!(answer.status, 431, "{answer:?}");
}

#[test]
fn a_tenant_that_posts_faster_than_allowed_is_asked_to_come_again_and_another_is_not() {
    let (door, _alone) = door();
    let quick = silent_tenant(&door.db, "quick");
    let calm = silent_tenant(&door.db, "calm");
    let probe = silent_tenant(&door.db, "probe");
    let post = |instance: &str, secret: &str, number: usize| {
        door.post(secret, &message(instance, &format!("{instance}-{number}"), "Oi").to_string())
    };
    let numbers = std::cell::Cell::new(0);
    door.set_and_wait("whaply.webhook_rate", "1", || {
        numbers.set(numbers.get() + 1);
        post("probe", &probe, numbers.get()).status == 429
    });
    let answers: Vec<Answer> = (0..30).map(|number| post("quick", &quick, number)).collect();
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((5..30).contains(&taken), "{taken}");
    let refused = answers.iter().find(|answer| answer.status != 200).expect("too many");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{refused:?}");
    assert_eq!(post("calm", &calm, 0).status, 200);
    // A stranger who says to be that tenant takes nothing of its share.
    for number in 1..20 {
        assert_eq!(post("calm", "wrong", number).status, 401);
    }
    assert_eq!(post("calm", &calm, 20).status, 200);
    numbers.set(1_000);
    door.set_and_wait("whaply.webhook_rate", "0", || {
        numbers.set(numbers.get() + 1);
        post("probe", &probe, numbers.get()).status == 200
    });
}

#[test]
fn an_address_that_is_refused_too_often_is_heard_only_as_far_as_it_may_be_right() {
    let (door, _alone) = door();
    let secret = silent_tenant(&door.db, "known");
    let other = silent_tenant(&door.db, "unknown");
    let post_to = |path: &str, instance: &str, secret: &str, from: &str| {
        let body = message(instance, &format!("{instance}-from-{from}"), "Oi").to_string();
        let headers = [(SECRET_HEADER, secret), ("x-forwarded-for", from)];
        request(door.address, "POST", path, &headers, body.as_bytes()).status
    };
    let post =
        |instance: &str, secret: &str, from: &str| post_to("/webhook", instance, secret, from);
    assert_eq!(post("known", &secret, "192.0.2.1"), 200);
    door.set_and_wait("whaply.refused_per_minute", "3", || {
        post("known", "wrong", "192.0.2.1") == 429
    });
    assert_eq!(post_to("/webhook/known", "known", "wrong", "192.0.2.1"), 429);
    assert_eq!(post("known", "wrong", "192.0.2.2"), 401, "another address");
    assert_eq!(post("known", &secret, "192.0.2.1"), 200, "the gateway is one address");
    assert_eq!(post("unknown", &other, "192.0.2.1"), 200, "nobody has seen its secret before");
    // A secret that was changed a moment ago is not wrong for long.
    let changed: String = door.db.value(
        "UPDATE whaply.tenants SET webhook_secret = 'changed' WHERE instance_name = 'known' RETURNING webhook_secret",
        &[],
    );
    wait_until("the new secret to be learned", PATIENCE, || {
        post("known", &changed, "192.0.2.1") == 200
    });
    door.cluster.set("whaply.refused_per_minute", "0");
}
