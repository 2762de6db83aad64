//! A name server that never answers: the tenants whose model has a name there wait, and nobody else. It
//! is the name server of this test's database server alone.

use std::net::UdpSocket;
use std::thread;

use support::backlog::customers_have_asked;
use support::scene::insert_tenant;
use support::wait::Journal;
use support::{Cluster, ClusterOptions, PATIENCE, Scene, SceneOptions, wait_until};

/// An address of this machine that nobody else uses. Name servers have no other port.
const NAME_SERVER: &str = "127.66.66.66:53";

const RESOLVER: &str = r#"
echo 'nameserver 127.66.66.66' > resolv.conf
echo 'options timeout:30 attempts:3' >> resolv.conf
chmod 644 resolv.conf
mount --bind resolv.conf /etc/resolv.conf"#;

/// Few enough that the look-ups would take them all.
const THREADS: usize = 32;
const CHATS: i32 = 60;

#[test]
fn a_name_that_is_never_resolved_delays_only_its_own_tenant() {
    if !Cluster::can_have_mounts() {
        return;
    }
    let name_server = UdpSocket::bind(NAME_SERVER).expect("root may have port 53");
    let asked: &Journal<Vec<u8>> = Box::leak(Box::default());
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok(length) = name_server.recv(&mut question) {
            asked.push(question[..length].to_vec());
        }
    });
    let options = ClusterOptions { mounts: Some(RESOLVER.to_owned()), ..ClusterOptions::default() }
        .with("whaply.worker_threads", &THREADS.to_string())
        .with("whaply.poll_interval", "100ms");
    let cluster = Cluster::start(options);
    let scene = Scene::start_with(&cluster, "names", SceneOptions::default());
    let columns = [
        ("instance_name", "nameless"),
        ("evo_server_url", "http://127.0.0.1:1"),
        ("llm_provider", "openai"),
        ("llm_base_url", "http://model.example/v1"),
        ("llm_model", "any"),
        ("max_in_flight", "100"),
        ("answers_per_tenant", "0"),
    ];
    let columns = columns.map(|(column, value)| (column.to_owned(), value.to_owned()));
    let nameless = insert_tenant(&scene.db, &columns);
    customers_have_asked(&scene.db, nameless, CHATS);
    asked.wait_for_one("a look-up of the model's name", PATIENCE, |question| {
        question.windows(6).any(|part| part == b"\x05model")
    });

    for number in 1..=3 {
        scene.shop.customer_says("5511999990003", "Vocês atendem?").delivered();
        scene.shop.wait_for_sent(number, PATIENCE);
    }
    // A look-up ends, and with it the call: the rest of the server's life is not spent on it.
    wait_until("a look-up to time out", PATIENCE, || {
        let errors = "SELECT count(*) > 0 FROM whaply.replies
                       WHERE tenant_id = $1 AND error LIKE '%model.example: looking up the name timed out%'";
        scene.db.value::<bool>(errors, &[&nameless])
    });
    scene.shop.customer_says("5511999990003", "E agora?").delivered();
    scene.shop.wait_for_sent(4, PATIENCE);
}
