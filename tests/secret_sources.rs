//! Keys and secrets that a tenant names by their source: they reach the server they are for, no other, and no
//! error repeats them. How a source is written and matched is not its matter.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use support::listener::{
    cluster_with_listener, free_address, message, request, silent_tenant, wait_until_well,
};
use support::scene::{SECRET_HEADER, base_url, insert_tenant};
use support::secrets::{Folders, LET_READ_VAULT, VAULT};
use support::{Cluster, ClusterOptions, Database, PATIENCE, Scene, wait_until};

/// Cargo sets it for every test, and the servers of tests inherit it.
const VARIABLE: (&str, &str) = ("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"));

fn cluster(sources: &str) -> Cluster {
    let options = ClusterOptions::default().in_a_hurry();
    Cluster::start(options.with("whaply.secret_sources", sources))
}

/// A question with an id of its own, and the key with which the model was asked.
fn key_of_next_answer(scene: &Scene, number: usize) -> String {
    let customer = format!("55119999{number:05}");
    let question = scene.shop.customer_says(customer.as_str(), "Tem bolo?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let request = scene.llm.requests().pop().expect("the model was asked");
    request.headers.get("authorization").cloned().unwrap_or_default()
}

/// The same of a question that gets no answer: why.
fn error_of_next_answer(scene: &Scene, number: usize) -> String {
    let customer = format!("55119999{number:05}");
    let question = scene.shop.customer_says(customer.as_str(), "Tem bolo?").delivered();
    scene.wait_for_action(&question.id, "ai_failed");
    let error = "SELECT r.error FROM whaply.replies r JOIN whaply.messages m ON m.reply_id = r.id OR m.chat_id = r.chat_id
                  WHERE m.message_id = $1";
    scene.db.value(error, &[&question.id])
}

fn name_key(scene: &Scene, source: &str) {
    scene.set_tenant(&format!("llm_api_key = '{source}'"));
}

#[test]
fn a_key_comes_from_the_environment_from_a_file_and_from_vault_and_a_change_is_followed() {
    let folders = Folders::default();
    let cluster = cluster(&format!(
        "env:{} for *, file:{}/ for 127.0.0.1, vault:* for *",
        VARIABLE.0,
        folders.path("allowed")
    ));
    let scene = Scene::start(&cluster, "sources");
    scene.db.execute(VAULT);
    scene.db.execute(LET_READ_VAULT);
    // The gateway takes no other key than this.
    let token = folders.write("allowed/token", format!("{}\n", scene.shop.token()));
    scene.set_tenant(&format!("evo_api_key = '{token}'"));

    name_key(&scene, &format!("env:{}", VARIABLE.0));
    assert_eq!(key_of_next_answer(&scene, 1), format!("Bearer {}", VARIABLE.1));
    name_key(&scene, "vault:model of the shop");
    assert_eq!(key_of_next_answer(&scene, 2), "Bearer key-in-the-vault");
    name_key(&scene, &folders.write("allowed/model", "key-of-monday\r\n"));
    assert_eq!(key_of_next_answer(&scene, 3), "Bearer key-of-monday");
    folders.write("allowed/model", "key-of-tuesday");
    assert_eq!(key_of_next_answer(&scene, 4), "Bearer key-of-tuesday");
    assert_eq!(scene.shop.sent().len(), 4);
}

#[test]
fn a_tenants_own_server_gets_no_source_that_is_not_listed_for_it() {
    let folders = Folders::default();
    let cluster = cluster(&format!("file:{}/", folders.path("allowed")));
    let scene = Scene::start(&cluster, "own_server");
    let source = folders.write("allowed/model", "key-of-the-operator");
    name_key(&scene, &source);
    let error = error_of_next_answer(&scene, 1);
    let entry = format!("{source} for {}", scene.llm.url().trim_start_matches("http://"));
    assert!(
        error.starts_with("llm_api_key") && error.contains(&format!("add '{entry}'")),
        "{error}"
    );
    assert!(!error.contains("key-of-the-operator"), "{error}");
    assert_eq!(scene.llm.requests().len(), 0);
    let told = "SELECT count(*) FROM whaply.health WHERE subject = 'replies' AND problem LIKE '%whaply.secret_sources%'";
    assert_eq!(scene.db.value::<i64>(told, &[]), 1);

    // As the error says; what failed is tried again by hand, and no message was to blame.
    cluster.set("whaply.secret_sources", &entry);
    let retried: i64 =
        scene.db.value("SELECT whaply.retry_replies('loja-demo', now() - interval '1 hour')", &[]);
    assert_eq!(retried, 1);
    scene.llm.wait_for_requests(1, PATIENCE);
    scene.shop.wait_for_sent(1, PATIENCE);

    // Evolution is a server of the tenant's choosing, too.
    scene.set_tenant(&format!("evo_api_key = '{source}'"));
    scene.shop.customer_says("5511999990077", "Oi").delivered();
    let failed =
        scene.wait_for_delivery("a failed delivery", |delivery| delivery.state == "failed");
    let error = failed.error.unwrap_or_default();
    assert!(error.contains("evo_api_key") && error.contains(" for 127.0.0.1:"), "{error}");
}

#[test]
fn what_cannot_be_read_fails_the_reply_by_its_source_and_nobody_elses() {
    let folders = Folders::default();
    let cluster = cluster(&format!(
        "file:{}/ for *, vault:* for *, env:WHAPLY_UNSET for *",
        folders.path("allowed")
    ));
    let scene = Scene::start(&cluster, "unreadable");
    scene.set_tenant("on_failure = 'none'");
    folders.write("outside/key", "key-outside");
    let link = folders.path("allowed/link");
    symlink(folders.path("outside/key"), Path::new(&link)).expect("a link");
    let cases = [
        (format!("file:{link}"), "leads out of the directory"),
        (folders.write("allowed/large", "k".repeat(70_000)), "larger than 64 KiB"),
        (folders.write("allowed/binary", b"key-\xff"), "not in UTF-8"),
        (folders.write("allowed/lines", "key-one\nkey-two"), "control character"),
        (folders.write("allowed/empty", "\n"), "not set or empty"),
        (format!("file:{}", folders.path("allowed/missing")), "cannot be read"),
        (format!("file:{}", folders.path("outside/key")), "does not list"),
        ("env:WHAPLY_UNSET".to_owned(), "not set or empty"),
        ("env:PATH".to_owned(), "does not list"),
        ("vault:any".to_owned(), "Supabase Vault is not installed"),
    ];
    for (number, (source, reason)) in cases.iter().enumerate() {
        name_key(&scene, source);
        let error = error_of_next_answer(&scene, number);
        assert!(error.contains(source.as_str()) && error.contains(reason), "{source}: {error}");
        assert!(!error.contains("key-"), "{source}: {error}");
    }
    scene.db.execute(VAULT);
    name_key(&scene, "vault:any");
    let error = error_of_next_answer(&scene, 19);
    assert!(error.contains("GRANT USAGE ON SCHEMA vault TO whaply_worker"), "{error}");
    scene.db.execute(LET_READ_VAULT);
    assert!(error_of_next_answer(&scene, 20).contains("not set or empty"));
    // Somebody else's view may fail in any way.
    scene.db.execute(
        "DROP VIEW vault.decrypted_secrets;
         CREATE VIEW vault.decrypted_secrets AS
         SELECT name, (1 / (length(name) - length(name)))::text AS decrypted_secret FROM vault.secrets",
    );
    scene.db.execute(LET_READ_VAULT);
    let other = scene.evolution.create_instance("loja-outra");
    let model = [
        ("llm_provider", "openai".to_owned()),
        ("llm_base_url", base_url("openai", &scene.llm.url())),
    ];
    let line = [
        ("instance_name", other.name().to_owned()),
        ("evo_server_url", scene.evolution.url()),
        ("evo_api_key", other.token().to_owned()),
        ("debounce", "0".to_owned()),
    ];
    let columns = model.into_iter().chain(line).map(|(name, value)| (name.to_owned(), value));
    let tenant_id = insert_tenant(&scene.db, &columns.collect::<Vec<_>>());
    other.set_webhook(support::scene::webhook_of(&scene.db, tenant_id, &scene.relay.url()));
    name_key(&scene, "vault:model of the shop");
    other.customer_says("5511999990088", "Oi").delivered();
    let error = error_of_next_answer(&scene, 21);
    assert!(error.contains("SQLSTATE 22012"), "{error}");
    other.wait_for_sent(1, PATIENCE);
    assert_eq!(scene.llm.requests().len(), 1, "of the other tenant");
}

/// Where Vault is listed but not installed, whoever may create a schema could be it; and a function in a view
/// runs as whoever reads it.
#[test]
fn a_vault_that_somebody_else_has_made_is_not_read() {
    let cluster = cluster("vault:* for *");
    let scene = Scene::start(&cluster, "planted_vault");
    scene.db.execute(&format!(
        "CREATE ROLE mallory;
         GRANT CREATE ON DATABASE {} TO mallory;
         CREATE TABLE public.seen (key text);
         GRANT INSERT, SELECT ON public.seen TO PUBLIC;
         SET check_function_bodies = off;
         SET ROLE mallory;
         CREATE SCHEMA vault;
         CREATE FUNCTION vault.key() RETURNS text LANGUAGE sql AS
             'INSERT INTO public.seen SELECT evo_api_key FROM whaply.tenants RETURNING key';
         CREATE VIEW vault.decrypted_secrets AS SELECT 'any'::text AS name, vault.key() AS decrypted_secret;
         GRANT USAGE ON SCHEMA vault TO whaply_worker;
         GRANT SELECT ON vault.decrypted_secrets TO whaply_worker",
        scene.db.name()
    ));
    name_key(&scene, "vault:any");
    // The owner of the schema could put another view in the place of this one.
    for (number, owner_of_the_view) in ["mallory", "CURRENT_USER"].into_iter().enumerate() {
        let given = format!("ALTER VIEW vault.decrypted_secrets OWNER TO {owner_of_the_view}");
        scene.db.execute(&given);
        let error = error_of_next_answer(&scene, number);
        assert!(error.contains("does not belong to a superuser"), "{owner_of_the_view}: {error}");
    }
    assert_eq!(scene.db.value::<i64>("SELECT count(*) FROM public.seen", &[]), 0);
    assert_eq!(scene.llm.requests().len(), 0);
}

#[test]
fn the_global_key_of_evolution_goes_to_no_server_but_those_that_it_is_listed_for() {
    let folders = Folders::default();
    let source = folders.write("allowed/global", "the-global-key");
    let options = ClusterOptions::default().in_a_hurry().with("whaply.evolution_api_key", &source);
    let listed = format!("{source} for evolution.example.com");
    let cluster = Cluster::start(options.with("whaply.secret_sources", &listed));
    let scene = Scene::start(&cluster, "bound_key");
    scene.set_tenant("evo_api_key = NULL");
    let url = "https://hooks.example.com/webhook";
    scene.db.value::<i64>("SELECT whaply.connect_instance('loja-demo', $1)", &[&url]);
    let error = "SELECT error FROM whaply.instance_requests WHERE state = 'failed'";
    let error =
        wait_until("the request to fail", PATIENCE, || scene.db.column::<String>(error, &[]).pop());
    assert!(error.contains("for other servers only"), "{error}");
    let has_it = |value: &String| value.contains("the-global-key");
    assert!(!scene.evolution.requests().iter().any(|call| call.headers.values().any(has_it)));
}

/// What the tenant accepts, as its row has it.
fn accept(db: &Database, assignments: &str) {
    db.execute(&format!("UPDATE whaply.tenants SET {assignments} WHERE instance_name = 'porta'"));
}

#[test]
fn the_listener_reads_the_secrets_of_webhooks_and_a_session_does_not() {
    let (folders, address) = (Folders::default(), free_address());
    let sources = format!("file:{}/", folders.path("allowed"));
    let options = ClusterOptions::default().with("whaply.refused_per_minute", "0");
    let cluster = cluster_with_listener(address, options.with("whaply.secret_sources", &sources));
    let db = cluster.create_database("door");
    silent_tenant(&db, "porta");
    wait_until_well(address);
    let mut ids = 0;
    let mut post = |header: &str, value: &str| {
        ids += 1;
        let body = message("porta", &format!("M{ids}"), "Oi").to_string();
        request(address, "POST", "/webhook", &[(header, value)], body.as_bytes()).status
    };
    let secret = folders.write("allowed/secret", "the-secret\n");
    let key = folders.write("allowed/jwt", "the-key\n");
    accept(
        &db,
        &format!(
            "webhook_secret = '{secret}', webhook_secret_before = NULL, webhook_jwt_key = '{key}'"
        ),
    );
    assert_eq!(post(SECRET_HEADER, "the-secret"), 200);
    folders.write("allowed/secret", "the-second");
    assert_eq!(post(SECRET_HEADER, "the-second"), 200, "what does not fit is read again");
    assert_eq!(post(SECRET_HEADER, "the-secret"), 401);
    assert_eq!(post(SECRET_HEADER, &secret), 401, "its name is not the secret");
    assert_eq!(post(SECRET_HEADER, "another"), 401);
    let claims =
        json!({"iat": chrono::Utc::now().timestamp(), "exp": chrono::Utc::now().timestamp() + 600});
    let signed = |key: &str| {
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(key.as_bytes()));
        format!("Bearer {}", token.expect("a token"))
    };
    assert_eq!(post("authorization", &signed("the-key")), 200);
    assert_eq!(post("authorization", &signed(&key)), 401);

    // What cannot be read may be right: Evolution repeats it, and the log says what is the matter.
    fs::remove_file(folders.path("allowed/secret")).expect("it was there");
    wait_until("what was read to be read again", PATIENCE, || {
        post(SECRET_HEADER, "the-second") == 503
    });
    assert_eq!(post("authorization", &signed("the-key")), 200);
    assert_eq!(post("x-nothing", ""), 401, "who brings nothing brings nothing");
    wait_until("a line in the log", PATIENCE, || {
        cluster.log().contains(&format!("webhook_secret names {secret}"))
    });
    assert!(!cluster.log().contains("the-se"), "{}", cluster.log());
    folders.write("allowed/secret", "the-next");
    wait_until("the secret to be back", PATIENCE, || post(SECRET_HEADER, "the-next") == 200);

    let error_of = |sql: &str| {
        let error = db.connect().batch_execute(sql).expect_err("it is refused");
        let error = error.as_db_error().expect("an answer of the server").clone();
        (error.code().code().to_owned(), error.message().to_owned())
    };
    let body = message("porta", "M", "Oi").to_string().replace('\'', "''");
    let through_postgrest = |secret: &str| {
        error_of(&format!(
            "SET request.headers = '{{\"{SECRET_HEADER}\": \"{secret}\"}}'; SELECT whaply.webhook('{body}')"
        ))
    };
    for presented in ["the-next", secret.as_str(), "another"] {
        let (code, message) = through_postgrest(presented);
        assert!(
            code == "PT503" && message.contains("only the listener reads"),
            "{code}: {message}"
        );
    }
    assert_eq!(error_of("SELECT whaply.webhook_settings('porta')").0, "55000");
}

#[test]
fn many_webhooks_read_a_source_a_few_times() {
    const POSTS: usize = 200;
    let address = free_address();
    let options = ClusterOptions::default().with("whaply.secret_sources", "vault:*");
    let cluster = cluster_with_listener(address, options);
    let db = cluster.create_database("counted");
    silent_tenant(&db, "porta");
    db.execute(VAULT);
    // Each look at a secret counts, whatever becomes of its transaction.
    db.execute(
        "CREATE SEQUENCE vault.reads;
         CREATE FUNCTION vault.counted(text) RETURNS text LANGUAGE sql SECURITY DEFINER
             AS $$ SELECT CASE WHEN pg_catalog.nextval('vault.reads') > 0 THEN $1 END $$;
         CREATE OR REPLACE VIEW vault.decrypted_secrets AS
         SELECT name, vault.counted(convert_from(secret, 'UTF8')) AS decrypted_secret FROM vault.secrets",
    );
    db.execute(LET_READ_VAULT);
    accept(&db, "webhook_secret = 'vault:model of the shop', webhook_secret_before = NULL");
    wait_until_well(address);
    for number in 0..POSTS {
        let body = message("porta", &format!("M{number}"), "Oi").to_string();
        let headers = [(SECRET_HEADER, "key-in-the-vault")];
        let answer = request(address, "POST", "/webhook", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{number}");
    }
    let reads = usize::try_from(db.value::<i64>("SELECT last_value FROM vault.reads", &[]));
    let reads = reads.expect("a count");
    assert!(reads > 0 && reads < POSTS / 4, "{reads} reads");
}

#[test]
fn view_health_tells_of_every_source_that_cannot_be_read_until_it_can() {
    let folders = Folders::default();
    let sources = format!("file:{}/ for *, vault:* for *", folders.path("allowed"));
    let cluster = cluster(&sources);
    let db = cluster.create_database("unread");
    silent_tenant(&db, "porta");
    let (allowed, outside) = (folders.path("allowed"), folders.path("outside"));
    accept(&db, &format!("webhook_secret = 'file:{allowed}/former'"));
    accept(
        &db,
        &format!(
            "webhook_secret = 'file:{allowed}/secret', webhook_jwt_key = 'file:{outside}/jwt',
             llm_api_key = 'env:WHAPLY_UNSET', evo_api_key = 'vault:any'"
        ),
    );
    let told = || -> Vec<String> {
        let told = "SELECT format('%s %s: %s; %s', severity, instance_name, problem, what_to_do)
                      FROM whaply.health WHERE subject = 'secret' ORDER BY problem";
        db.column(told, &[])
    };
    wait_until("all of them to be told", PATIENCE, || told().len() == 5);
    let all = told().join("\n");
    for expected in [
        "critical porta: evo_api_key names vault:any: this database has no vault",
        "critical porta: llm_api_key names env:WHAPLY_UNSET, which whaply.secret_sources does not list",
        &format!(
            "critical porta: webhook_jwt_key names file:{outside}/jwt, which whaply.secret_sources"
        ),
        &format!(
            "critical porta: webhook_secret names file:{allowed}/secret: the file cannot be read"
        ),
        &format!(
            "info porta: webhook_secret_before names file:{allowed}/former: the file cannot be"
        ),
        "name another one in tenants.webhook_jwt_key",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }

    db.execute(VAULT);
    db.execute(LET_READ_VAULT);
    db.execute("INSERT INTO vault.secrets VALUES ('any', 'key-any')");
    for name in ["allowed/secret", "allowed/former", "outside/jwt"] {
        folders.write(name, "key-here");
    }
    accept(&db, "llm_api_key = 'the key itself'");
    let more = format!("{sources}, file:{outside}/jwt");
    cluster.set("whaply.secret_sources", &more);
    wait_until("nothing to be told any more", PATIENCE, || match told() {
        told if told.is_empty() => Ok(()),
        told => Err(told.join("\n")),
    });
    let kept = "SELECT count(*) FROM whaply.findings WHERE subject = 'secret'";
    assert_eq!(db.value::<i64>(kept, &[]), 0);
}
