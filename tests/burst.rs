//! Many customers at once in a database that is so young that the planner knows nothing of its
//! tables: a statement that reads all of a tenant's rows for each question would stand still here.

use std::time::Duration;

use support::backlog::customers_have_asked;
use support::{Cluster, ClusterOptions, Scene, SceneOptions, wait_until};

const CUSTOMERS: i32 = 500;

/// Each of them costs a call to the model, a send, and its echo, on a machine with other work.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn a_burst_in_a_new_database_is_answered_to_the_last() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.poll_interval", "100ms");
    let cluster = Cluster::start(options.with("autovacuum", "off"));
    let no_limit = SceneOptions::default().with("answers_per_tenant", "0");
    let scene = Scene::start_with(&cluster, "burst", no_limit);
    customers_have_asked(&scene.db, scene.tenant_id, CUSTOMERS);
    let answers = || i32::try_from(scene.shop.sent().len()).expect("a small number");
    wait_until("every answer", LIMIT, || match answers() {
        CUSTOMERS => Ok(()),
        sent => Err(format!("{sent} answers")),
    });
    scene.wait_until_idle();
    assert_eq!(answers(), CUSTOMERS);
}
