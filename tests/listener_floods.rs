//! The listener when there is no room: who comes too much is asked to come again and loses nothing, and
//! nobody's flood, slowness or number of connections keeps another tenant out.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use support::listener::{
    Answer, cluster_with_listener, connect, free_address, message, read_answer, silent_tenant,
    try_request, wait_until_well,
};
use support::scene::SECRET_HEADER;
use support::{Cluster, ClusterOptions, Database, PATIENCE, wait_until};

/// A tenant's posts that wait may hold a quarter of them.
const MAX_CLIENTS: usize = 40;

/// What Evolution API 2.3.6 makes of one webhook.
const ATTEMPTS: usize = 10;

struct Door {
    address: SocketAddr,
    db: Database,
    _cluster: Cluster,
}

impl Door {
    fn open(name: &str) -> Self {
        let address = free_address();
        let options = ClusterOptions::default()
            .with("whaply.max_clients", &MAX_CLIENTS.to_string())
            .with("whaply.header_timeout", "5min")
            .with("whaply.body_timeout", "5min");
        let cluster = cluster_with_listener(address, options);
        let db = cluster.create_database(name);
        wait_until_well(address);
        Self { address, db, _cluster: cluster }
    }

    /// A tenant whose secret the listener has seen.
    fn known_tenant(&self, instance: &str) -> String {
        let secret = silent_tenant(&self.db, instance);
        let first = self.post(instance, &secret, &format!("{instance}-FIRST"));
        assert!(first.is_some_and(|answer| answer.status == 200));
        secret
    }

    /// None: the connection was closed, which Evolution takes for a reason to come again.
    fn post(&self, instance: &str, secret: &str, id: &str) -> Option<Answer> {
        let body = message(instance, id, "Oi").to_string();
        let headers = [(SECRET_HEADER, secret)];
        try_request(self.address, "POST", "/webhook", &headers, body.as_bytes()).ok()
    }

    /// As often as it takes; what was answered before.
    fn post_until_taken(&self, instance: &str, secret: &str, id: &str, seen: &Mutex<Vec<Answer>>) {
        wait_until("the webhook to be taken", PATIENCE, || {
            let answer = self.post(instance, secret, id)?;
            let is_taken = answer.status == 200;
            seen.lock().expect("no panic").push(answer);
            is_taken.then_some(())
        });
    }

    /// Nothing can be stored as long as the lock is held.
    fn lock_tables(&self) -> Client {
        let mut holder = self.db.connect();
        let lock = "BEGIN; LOCK TABLE whaply.messages IN ACCESS EXCLUSIVE MODE";
        holder.batch_execute(lock).expect("nobody holds it for long");
        holder
    }

    /// Ids of messages and of their events, each as often as it is there.
    fn stored(&self, like: &str) -> (Vec<String>, Vec<String>) {
        let ids = |table: &str| {
            let sql = format!(
                "SELECT message_id::text FROM whaply.{table} WHERE message_id LIKE $1 ORDER BY 1"
            );
            self.db.column::<String>(&sql, &[&like])
        };
        (ids("messages"), ids("processed_events"))
    }
}

fn has_message(answers: &Mutex<Vec<Answer>>, message: &str) -> bool {
    let answers = answers.lock().expect("no panic");
    answers.iter().any(|answer| answer.json()["message"] == message)
}

#[test]
fn what_finds_the_queue_full_is_taken_when_it_comes_again_and_once() {
    let door = Door::open("queue");
    let secret = door.known_tenant("busy");
    let mut holder = door.lock_tables();
    let answers = Mutex::new(Vec::new());
    let mut ids: Vec<String> = (0..30).map(|number| format!("FULL-{number}")).collect();
    thread::scope(|scope| {
        for id in &ids {
            scope.spawn(|| door.post_until_taken("busy", &secret, id, &answers));
        }
        wait_until("a post that finds no room", PATIENCE, || {
            has_message(&answers, "too many webhooks are waiting")
        });
        holder.batch_execute("COMMIT").expect("the session is there");
    });
    for answer in answers.into_inner().expect("no panic") {
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        assert_eq!(answer.header("retry-after").is_some(), answer.status == 503, "{answer:?}");
    }
    ids.sort();
    assert_eq!(door.stored("FULL-%"), (ids.clone(), ids));
}

/// Posts of six tenants that may hold a quarter of the connections each hold them all.
#[test]
fn who_finds_every_connection_at_work_is_asked_to_come_again() {
    let door = Door::open("connections");
    let tenants =
        ["a", "b", "c", "d", "e", "f"].map(|instance| (instance, door.known_tenant(instance)));
    let mut holder = door.lock_tables();
    let answers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (instance, secret) in &tenants {
            for number in 0..MAX_CLIENTS / 4 {
                let (door, answers) = (&door, &answers);
                scope.spawn(move || {
                    let id = format!("WORK-{instance}-{number}");
                    door.post_until_taken(instance, secret, &id, answers);
                });
            }
        }
        let turned_away = wait_until("a newcomer to be turned away", PATIENCE, || {
            // It is told before it has said a word; who is let in is not.
            let mut newcomer = connect(door.address).ok()?;
            newcomer.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
            read_answer(&mut newcomer).ok()
        });
        assert_eq!(turned_away.status, 503, "{turned_away:?}");
        assert_eq!(turned_away.header("retry-after"), Some("5"), "{turned_away:?}");
        holder.batch_execute("COMMIT").expect("the session is there");
    });
    let (messages, events) = door.stored("WORK-%");
    let posts = tenants.len() * MAX_CLIENTS / 4;
    assert_eq!((messages.len(), events.len()), (posts, posts));
}

/// The listener takes its time for bodies here, so that nobody is cut off for being slow.
#[test]
fn a_tenant_that_holds_more_connections_than_there_are_keeps_no_other_out() {
    let door = Door::open("greedy");
    let (greedy, calm) = (door.known_tenant("greedy"), door.known_tenant("calm"));
    let begun = |secret: &str| {
        format!(
            "POST /webhook HTTP/1.1\r\nhost: x\r\n{SECRET_HEADER}: {secret}\r\ncontent-length: 9\r\n\r\n{{"
        )
    };
    let half_a_head = "POST /webhook HTTP/1.1\r\nhost: x\r\n".to_owned();
    for slow in [begun(&greedy), begun("wrong"), half_a_head, String::new()] {
        let held: Vec<TcpStream> = (0..3 * MAX_CLIENTS)
            .map(|_| {
                let mut connection = connect(door.address).expect("the system accepts");
                // Who is cut off at once may not be able to write.
                let _ = connection.write_all(slow.as_bytes());
                connection
            })
            .collect();
        for number in 0..5 {
            let id = format!("CALM-{}-{number}", slow.len());
            let taken = (0..ATTEMPTS)
                .any(|_| door.post("calm", &calm, &id).is_some_and(|answer| answer.status == 200));
            assert!(taken, "{slow:?}");
        }
        drop(held);
    }
}

#[test]
fn a_flood_of_one_instance_and_of_strangers_stops_no_other_tenant() {
    let door = Door::open("flood");
    let (loud, calm) = (door.known_tenant("loud"), door.known_tenant("calm"));
    // Nobody has seen its secret yet, and it comes from the address that is refused all the time.
    let new = silent_tenant(&door.db, "new");
    let (is_over, posts) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..MAX_CLIENTS {
            let (door, loud, is_over, posts) = (&door, &loud, &is_over, &posts);
            scope.spawn(move || {
                for number in 0.. {
                    let secret = if client % 2 == 0 { loud } else { "wrong" };
                    door.post("loud", secret, &format!("LOUD-{client}-{number}"));
                    posts.fetch_add(1, Ordering::Relaxed);
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        wait_until("the flood", PATIENCE, || posts.load(Ordering::Relaxed) > 10 * MAX_CLIENTS);
        let delivered = |instance: &str, secret: &str, id: &str| {
            let attempts = (0..ATTEMPTS).map(|_| door.post(instance, secret, id));
            attempts.flatten().any(|answer| answer.status == 200)
        };
        let lost: Vec<String> = (0..20)
            .flat_map(|number| [("calm", &calm, number), ("new", &new, number)])
            .map(|(instance, secret, number)| (instance, secret, format!("{instance}-{number}")))
            .filter(|(instance, secret, id)| !delivered(instance, secret, id))
            .map(|(.., id)| id)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(lost.is_empty(), "{lost:?}");
    });
}
