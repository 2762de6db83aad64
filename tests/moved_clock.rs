//! The clock of the database server, set forward and back while it runs; everybody else's stays. What is not
//! written down waits by another clock, which nobody sets.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::worker::{wait_for_worker, worker_pid};
use support::{Cluster, ClusterOptions, Gate, PATIENCE, Scene, SendBehaviour, wait_until};

const MARIA: &str = "5511999990001";
const JOAO: &str = "5511999990002";
const ANA: &str = "5511999990003";
const BIA: &str = "5511999990004";
const CLARA: &str = "5511999990005";

const SOURCE: &str = "support/moved_clock.c";

/// Less than `age_limit`: Evolution's clock is not moved.
const FORWARD: i64 = 20;

/// A clock of the server's own: a library that it preloads, and how far it is moved.
struct Clock(tempfile::TempDir);

impl Clock {
    fn that_is_right() -> Self {
        let clock = Self(tempfile::tempdir().expect("a folder"));
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(clock.0.path(), readable).expect("our own");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE);
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        let compiled = compiler.arg(clock.file("library.so")).arg(source).status();
        assert!(compiled.expect("a C compiler").success());
        clock.is_ahead_by(0);
        clock
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// In minutes. Written over in place: the server has the file in its memory.
    fn is_ahead_by(&self, minutes: i64) {
        let mut file = OpenOptions::new();
        let file = file.write(true).create(true).truncate(false);
        let file = file.open(self.file("seconds")).expect("a file of our own");
        file.write_all_at(&(minutes * 60).to_ne_bytes(), 0).expect("a file of our own");
    }

    fn options(&self) -> ClusterOptions {
        let options = ClusterOptions::default().in_a_hurry();
        options
            .with("whaply.maintenance_interval", "1s")
            .with_variable("LD_PRELOAD", &self.file("library.so").display().to_string())
            .with_variable("MOVED_CLOCK", &self.file("seconds").display().to_string())
    }
}

/// Minutes by which the server's clock is ahead of ours.
fn minutes_ahead(scene: &Scene) -> i64 {
    let now: chrono::DateTime<chrono::Utc> = scene.db.value("SELECT clock_timestamp()", &[]);
    (now - chrono::Utc::now() + chrono::Duration::seconds(30)).num_minutes()
}

#[test]
fn a_clock_set_forward_and_back_breaks_off_no_call_and_delays_no_new_question() {
    let clock = Clock::that_is_right();
    let cluster = Cluster::start(clock.options());
    let scene = Scene::start(&cluster, "moved");
    let pid = wait_for_worker(&scene.db);
    assert_eq!(minutes_ahead(&scene), 0);

    // Forward, in the middle of a call and of a wait for more.
    let generating = scene.ask_and_hold("Qual o preço?");
    scene.set_tenant("debounce = '10 min', debounce_max = '10 min'");
    scene.shop.customer_says(JOAO, "E o prazo?").delivered();
    clock.is_ahead_by(FORWARD);
    assert_eq!(minutes_ahead(&scene), FORWARD);
    scene.shop.wait_for_sent(1, PATIENCE);
    generating.release();
    scene.shop.wait_for_sent(2, PATIENCE);
    let answers = ["Answer 2 to: E o prazo?", "Answer 1 to: Qual o preço?"];
    assert_eq!(scene.shop.sent_texts(), answers);

    // Back, in the middle of a wait for more, of a call to the model, and of one to Evolution.
    scene.set_tenant("debounce = '1 min'");
    scene.shop.customer_says(CLARA, "Alô?").delivered();
    scene.set_tenant("debounce = '0', debounce_max = '0'");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    scene.shop.customer_says(ANA, "Entregam?").delivered();
    sending.wait_until_reached(PATIENCE);
    let generating = scene.ask_and_hold("Em quanto tempo?");
    clock.is_ahead_by(0);
    assert_eq!(minutes_ahead(&scene), 0);
    scene.shop.customer_says(BIA, "Oi?").delivered();
    wait_until("the new question's answer", PATIENCE, || scene.texts_to(BIA).len() == 1);
    generating.release();
    sending.release();
    wait_until("all answers", PATIENCE, || {
        let texts = [MARIA, JOAO, ANA, BIA].map(|chat| scene.texts_to(chat).len());
        if texts == [2, 1, 1, 1] { Ok(()) } else { Err(format!("{texts:?}")) }
    });
    assert_eq!(scene.llm.requests().len(), 5, "no call was made again");

    // What waited is due when the clock is there again, or as docs/troubleshooting.md says.
    assert_eq!(scene.texts_to(CLARA).len(), 0);
    scene.db.execute("UPDATE whaply.replies SET due_at = now() WHERE state = 'waiting'");
    wait_until("the answer that waited", PATIENCE, || scene.texts_to(CLARA).len() == 1);
    scene.wait_until_idle();
    assert_eq!(worker_pid(&scene.db), Some(pid), "it was never restarted");
}
