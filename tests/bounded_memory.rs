//! Memory of the listener and of the worker when many large texts come at once: it keeps to what is set
//! aside for them, whoever sends them. Figures are bytes, the most that the kernel ever saw.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::backlog::customers_have_asked;
use support::listener::{
    cluster_with_listener, connect, free_address, message, request, silent_tenant, wait_until_well,
};
use support::scene::{SECRET_HEADER, insert_tenant};
use support::worker::{forget_most_resident, most_resident_kib, resident_kib, wait_for_worker};
use support::{Cluster, ClusterOptions, Database, PATIENCE, wait_until};

const MIB: usize = 1_024 * 1_024;

/// A process with its libraries, its caches and its buffers, in a debug build.
const EVERYTHING_ELSE: usize = 96;

/// What strangers' bodies may take together.
const STRANGERS_BODIES: usize = 256;

/// What a text of 1 MiB takes while it is read, if it is made of its smallest parts.
const READING_ONE: usize = 60;

/// What a model's and a gateway's large answers may take together.
const LARGE_ANSWERS: usize = 64;

#[track_caller]
fn assert_never_beyond(pid: i32, mib: usize) {
    let most = most_resident_kib(pid) / 1_024;
    assert!(most < mib as u64, "{most} MiB, and {mib} are set aside");
}

fn listener_pid(db: &Database) -> i32 {
    db.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'whaply listener'", &[])
}

/// Sends all of a body but its last byte. None: the listener did not take it.
fn send_most_of(address: SocketAddr, body: &[u8]) -> Option<TcpStream> {
    let mut connection = connect(address).expect("the listener accepts");
    let head =
        format!("POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).ok()?;
    connection.write_all(body.split_last()?.1).ok()?;
    Some(connection)
}

#[test]
fn the_listener_keeps_to_its_memory_however_many_large_bodies_come() {
    let address = free_address();
    let options = ClusterOptions::default().with("whaply.body_timeout", "5min");
    let cluster = cluster_with_listener(address, options);
    let db = cluster.create_database("bodies");
    let secret = silent_tenant(&db, "loja");
    wait_until_well(address);
    let pid = listener_pid(&db);
    let post = |secret: &str, body: &[u8]| {
        request(address, "POST", "/webhook", &[(SECRET_HEADER, secret)], body)
    };
    assert_eq!(post(&secret, message("loja", "FIRST", "Oi").to_string().as_bytes()).status, 200);

    let body = vec![b'x'; 15 * MIB];
    let held: Vec<TcpStream> = thread::scope(|scope| {
        let sent = (0..30).map(|_| scope.spawn(|| send_most_of(address, &body)));
        let sent: Vec<_> = sent.collect();
        sent.into_iter().filter_map(|sent| sent.join().expect("no panic")).collect()
    });
    assert_eq!(held.len(), STRANGERS_BODIES / 15);
    let large = message("loja", "LARGE", &"x".repeat(10 * MIB)).to_string();
    assert_eq!(post(&secret, large.as_bytes()).status, 200, "there is room for who is known");
    assert_never_beyond(pid, STRANGERS_BODIES + 3 * 15 + EVERYTHING_ELSE);
    drop(held);

    // Strangers' are read one at a time.
    let parts = |mib: usize| {
        let zeros = "0,".repeat(mib * MIB / 2);
        format!(r#"{{"event":"call","instance":"loja","data":[{zeros}0]}}"#).into_bytes()
    };
    wait_until("the bodies to be gone", PATIENCE, || match resident_kib(pid).0 / 1_024 {
        left if left < EVERYTHING_ELSE as u64 => Ok(()),
        left => Err(format!("{left} MiB")),
    });
    forget_most_resident(pid);
    let body = parts(1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                wait_until("the body to be read", PATIENCE, || post("wrong", &body).status == 401)
            });
        }
    });
    assert_never_beyond(pid, 2 * READING_ONE + EVERYTHING_ELSE);
    let answer = post(&secret, &parts(15));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_never_beyond(pid, 2 * READING_ONE + EVERYTHING_ELSE);
}

/// Every answer as large as one may be, and none that ends. How many calls broke off.
fn large_answers(calls: &'static AtomicUsize) -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("a bound listener has an address");
    thread::spawn(move || {
        while let Ok((mut connection, _)) = server.accept() {
            thread::spawn(move || {
                let _ = connection.read(&mut [0; 4_096]);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 7 * MIB);
                let _ = connection.write_all(head.as_bytes());
                let _ = connection.write_all(&vec![b' '; 7 * MIB - 1]);
                // Returns when the other side has gone.
                let _ = connection.read_to_end(&mut Vec::new());
                calls.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    address
}

#[test]
fn the_worker_keeps_to_its_memory_however_large_the_answers_are() {
    static BROKEN_OFF: AtomicUsize = AtomicUsize::new(0);
    const CHATS: i32 = 40;
    let cluster = Cluster::start(ClusterOptions::default().in_a_hurry());
    let db = cluster.create_database("answers");
    let pid = wait_for_worker(&db);
    let model = format!("http://{}/v1", large_answers(&BROKEN_OFF));
    let columns = [
        ("instance_name", "talkative"),
        ("evo_server_url", "http://127.0.0.1:1"),
        ("llm_provider", "openai"),
        ("llm_base_url", model.as_str()),
        ("llm_model", "any"),
        ("max_in_flight", "100"),
        ("answers_per_tenant", "0"),
    ];
    let columns = columns.map(|(column, value)| (column.to_owned(), value.to_owned()));
    let tenant = insert_tenant(&db, &columns);
    customers_have_asked(&db, tenant, CHATS);
    // Nine of them have room. The others end, and come again.
    wait_until("answers that find no room", PATIENCE, || {
        match BROKEN_OFF.load(Ordering::Relaxed) {
            broken_off if broken_off > 40 => Ok(()),
            broken_off => Err(broken_off.to_string()),
        }
    });
    assert_never_beyond(pid, LARGE_ANSWERS + EVERYTHING_ELSE);
}
