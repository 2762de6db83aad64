//! Where calls may go: nowhere private unless the server's settings list it, nowhere else because a
//! server says so, by no proxy but the settings' own, and to nobody whose certificate is not vouched for.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::{env, fs};

use support::http::{Answer, HttpServer};
use support::proxy::Proxy;
use support::rows::Reply;
use support::tls::{Authority, TlsFront};
use support::worker::wait_for_worker;
use support::{Cluster, ClusterOptions, ModelServer, PATIENCE, Scene, SceneOptions, wait_until};

const MARIA: &str = "5511999990001";
const SHOP: &str = "loja-demo";

const LIST: &str = "whaply.allow_private_addresses";

/// A port that must never be connected to.
struct Nobody(TcpListener);

impl Nobody {
    fn listens() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        Self(listener)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("a bound listener has an address"))
    }

    #[track_caller]
    fn was_never_called(&self) {
        assert!(self.0.accept().is_err(), "somebody has connected to {}", self.url());
    }
}

/// A server whose settings one test at a time may change, and whose environment names a proxy.
struct Server {
    cluster: Cluster,
    proxy_of_the_environment: Nobody,
}

fn server() -> (&'static Server, MutexGuard<'static, ()>) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = SERVER.get_or_init(|| {
        let nobody = Nobody::listens();
        let variables = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"];
        let options = ClusterOptions::default().in_a_hurry();
        let options = variables
            .into_iter()
            .fold(options, |options, name| options.with_variable(name, &nobody.url()))
            .with_variable("NO_PROXY", "");
        Server { cluster: Cluster::start(options), proxy_of_the_environment: nobody }
    });
    for (setting, value) in [("whaply.http_proxy", ""), ("whaply.ca_file", "")] {
        server.cluster.set(setting, value);
    }
    (server, turn)
}

fn address_of(url: &str) -> SocketAddr {
    let address = url.trim_start_matches("http://").parse();
    address.unwrap_or_else(|_| panic!("{url} is no address of a fake"))
}

/// The model of a tenant that names its own server.
fn model_at(url: String) -> SceneOptions {
    let (model, key) = ("any".to_owned(), Some("key-of-the-tenant".to_owned()));
    SceneOptions::default().model(ModelServer::At { url, model, key })
}

/// The last reply, once its error says this.
#[track_caller]
fn wait_for_error(scene: &Scene, words: &str) -> Reply {
    wait_until(&format!("an error about {words}"), PATIENCE, || {
        let last = scene.replies().pop();
        let says = |reply: &Reply| reply.error.as_ref().is_some_and(|why| why.contains(words));
        last.clone().filter(says).ok_or_else(|| format!("{last:#?}"))
    })
}

#[test]
fn what_is_not_listed_is_not_called_and_goes_out_once_the_line_is_added() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "off");
    let scene = Scene::start(&server.cluster, "listed");
    let worker = wait_for_worker(&scene.db);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let line =
        "ALTER SYSTEM SET whaply.allow_private_addresses = '127.0.0.1'; SELECT pg_reload_conf()";
    let reply = wait_for_error(&scene, line);
    assert_eq!(reply.attempt, reply.deferrals, "no attempt is used up: {reply:#?}");
    assert!(!scene.session(MARIA).is_paused, "it waits for the operator, not for the owner");
    assert!(scene.llm.requests().is_empty());

    let model = address_of(&scene.llm.url());
    server.cluster.set(LIST, &model.to_string());
    let line = "= '..., 127.0.0.1'; SELECT pg_reload_conf()";
    let delivery = scene.wait_for_delivery("a send that waits for the list", |delivery| {
        delivery.error.as_ref().is_some_and(|why| why.contains(line))
    });
    assert_eq!(delivery.attempt, delivery.deferrals, "{delivery:#?}");
    assert!(scene.evolution.requests().iter().all(|request| !request.path.contains("sendText")));

    server.cluster.set(LIST, "10.0.0.0/8, 127.0.0.1");
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent().len(), 1);
    assert_eq!(wait_for_worker(&scene.db), worker, "nobody had to restart anything");
}

#[test]
fn a_line_that_cannot_be_asked_for_is_told_to_the_log_once() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "off");
    let scene = Scene::start(&server.cluster, "closed");
    scene.set_tenant("connection_state = 'close'");
    let sql = "SELECT whaply.send_message($1, $2, 'Hello')";
    scene.db.value::<i64>(sql, &[&SHOP, &MARIA]);
    let told = "tenant 1: line: its state is not known: connectionState failed: 127.0.0.1 is a loopback address";
    wait_until("the log to tell of it", PATIENCE, || server.cluster.log().contains(told));
    server.cluster.set(LIST, "127.0.0.1");
    assert_eq!(scene.shop.wait_for_sent(1, PATIENCE).len(), 1);
    assert_eq!(server.cluster.log().matches(told).count(), 1);
}

#[test]
fn a_request_to_link_a_number_names_the_line_to_add() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "off");
    let scene = Scene::start(&server.cluster, "link");
    let connect = || {
        let sql = "SELECT whaply.connect_instance($1, $2)";
        scene.db.value::<i64>(sql, &[&SHOP, &scene.relay.url()])
    };
    let is = |wanted: &str| {
        let state: Option<String> = scene.db.value("SELECT whaply.instance_state($1)", &[&SHOP]);
        let sql = "SELECT error FROM whaply.instance_requests ORDER BY id DESC LIMIT 1";
        let error: Option<String> = scene.db.value(sql, &[]);
        let error = error.unwrap_or_default();
        if state.as_deref() == Some(wanted) {
            Ok(error)
        } else {
            Err(format!("{state:?}: {error}"))
        }
    };
    connect();
    let error = wait_until("the request to fail", PATIENCE, || is("failed"));
    assert!(error.contains("whaply.allow_private_addresses = '127.0.0.1';"), "{error}");
    assert!(scene.evolution.requests().is_empty());
    server.cluster.set(LIST, "127.0.0.1");
    connect();
    wait_until("the number to be linked", PATIENCE, || is("connected"));
}

#[test]
fn a_metadata_address_is_never_called_whatever_the_list_says() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "on, 0.0.0.0/0, ::/0");
    let options = model_at("http://[::ffff:169.254.169.254]/latest".to_owned());
    let scene = Scene::start_with(&server.cluster, "metadata", options);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("is a metadata address of a cloud, which is never called"));
    assert!(reply.why().contains("check the tenant's"), "{}", reply.why());
    assert_eq!(reply.attempt, 1, "no other try can help");
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("ai_failed"));
}

#[test]
fn a_name_that_leads_to_this_machine_is_called_only_if_it_is_listed() {
    let (server, _turn) = server();
    let behind = support::FakeLlm::start();
    let port = address_of(&behind.url()).port();
    let options = model_at(format!("http://localhost:{port}/v1"));
    server.cluster.set(LIST, &format!("localhost:{}", port.wrapping_add(1)));
    let scene = Scene::start_with(&server.cluster, "named", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = wait_for_error(&scene, &format!("= '..., localhost:{port}'"));
    assert!(reply.why().contains("localhost has a loopback address"), "{}", reply.why());
    assert!(behind.requests().is_empty());
    let gateway = address_of(&scene.evolution.url());
    server.cluster.set(LIST, &format!("localhost:{port}, {gateway}"));
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(behind.requests().len(), 1);
}

#[test]
fn a_redirect_to_another_host_is_not_followed_and_says_so() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "127.0.0.1");
    let nobody = Nobody::listens();
    let elsewhere = nobody.url();
    let redirecting = HttpServer::start(move |_| {
        let answer = Answer::text(307, "text/plain", "").with_header("location", &elsewhere);
        async move { answer }
    });
    let options = model_at(format!("{}/v1", redirecting.url()));
    let scene = Scene::start_with(&server.cluster, "redirect", options);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("it redirects; enter the final URL"), "{}", reply.why());
    nobody.was_never_called();
}

#[test]
fn the_environments_proxy_is_not_asked() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "127.0.0.1");
    let scene = Scene::start(&server.cluster, "environment");
    let mut session = scene.db.connect();
    let inherited = "CREATE TEMP TABLE inherited (proxy text);
                     COPY inherited FROM PROGRAM 'printenv HTTP_PROXY https_proxy'";
    session.batch_execute(inherited).expect("the server has the variables");
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    // The name of a server that only a proxy could find.
    scene.set_tenant("llm_base_url = 'http://model.invalid/v1'");
    scene.shop.customer_says(MARIA, "And now?").delivered();
    wait_for_error(&scene, "model.invalid");
    server.proxy_of_the_environment.was_never_called();
}

#[test]
fn the_settings_proxy_is_asked_for_names_and_listed_places_are_called_directly() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "127.0.0.1");
    let options = model_at("http://model.invalid:8000/v1".to_owned());
    let behind = support::FakeLlm::start();
    let proxy = Proxy::start_to(address_of(&behind.url()));
    let source = Readable::with("proxy", &format!("http://me:pass-word-42@{}\n", proxy.address()));
    server.cluster.set("whaply.http_proxy", &format!("file:{}", source.path()));
    let scene = Scene::start_with(&server.cluster, "proxy", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1, "Evolution is listed: {asked:#?}");
    assert!(asked[0].starts_with("CONNECT model.invalid:8000 HTTP/1.1\r\n"), "{asked:#?}");
    assert!(asked[0].contains("Proxy-Authorization: Basic bWU6cGFzcy13b3JkLTQy"), "{asked:#?}");
    assert!(!server.cluster.log().contains("pass-word-42"));

    // A proxy that is gone is no reason to go past it.
    server.cluster.set("whaply.http_proxy", "env:WHAPLY_TEST_NO_SUCH_VARIABLE");
    scene.shop.customer_says(MARIA, "And now?").delivered();
    let reply = wait_for_error(&scene, "whaply.http_proxy cannot be used");
    assert_eq!(reply.attempt, reply.deferrals, "{reply:#?}");
    let complaint = "whaply: whaply.http_proxy cannot be used: ";
    assert!(server.cluster.log().contains(complaint), "the log says why");
}

#[test]
fn a_private_authority_is_trusted_once_its_file_is_named() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "127.0.0.1");
    let (authority, behind) = (Authority::new(), support::FakeLlm::start());
    let front = TlsFront::start(&authority, "localhost", address_of(&behind.url()));
    let url = |host: &str| format!("https://{host}:{}/v1", front.port());
    let scene = Scene::start_with(&server.cluster, "authority", model_at(url("localhost")));
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let failed = scene.wait_for_reply("failed");
    assert!(failed.why().contains("a private one belongs into whaply.ca_file"), "{}", failed.why());

    let file = Readable::with("authority", &authority.pem());
    server.cluster.set("whaply.ca_file", file.path());
    wait_until("the worker to have read it", PATIENCE, || {
        let retry = "SELECT whaply.retry_reply(id) FROM whaply.failed_replies";
        scene.db.column::<bool>(retry, &[]);
        scene.action(&question.id).filter(|action| action == "ai_replied")
    });
    assert_eq!(behind.requests().len(), 1);

    scene.set_tenant(&format!("llm_base_url = '{}'", url("127.0.0.1")));
    scene.shop.customer_says(MARIA, "And now?").delivered();
    let failed = scene.wait_for_reply("failed");
    assert!(failed.why().contains("its certificate is for another name"), "{}", failed.why());
    assert_eq!(behind.requests().len(), 1, "whoever it is was told nothing");
}

#[test]
fn a_file_of_authorities_that_cannot_be_read_is_told_to_the_log_and_blames_no_message() {
    let (server, _turn) = server();
    server.cluster.set(LIST, "127.0.0.1");
    let (authority, behind) = (Authority::new(), support::FakeLlm::start());
    let front = TlsFront::start(&authority, "localhost", address_of(&behind.url()));
    let file = Readable::with("broken-authority", "no certificate");
    server.cluster.set("whaply.ca_file", file.path());
    let options = model_at(format!("https://localhost:{}/v1", front.port()));
    let scene = Scene::start_with(&server.cluster, "unread", options);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = wait_for_error(&scene, "whaply.ca_file, which could not be read");
    assert_eq!(reply.attempt, reply.deferrals, "{reply:#?}");
    let complaint = format!("whaply.ca_file cannot be used: {} holds no certificate", file.path());
    assert!(server.cluster.log().contains(&complaint), "{complaint}");
    // The same file, mended: a reload is enough.
    file.now_holds(&authority.pem());
    server.cluster.set(LIST, "127.0.0.0/8");
    scene.wait_for_action(&question.id, "ai_replied");
}

#[test]
fn a_setting_that_is_none_is_refused_when_it_is_set_and_a_password_not_repeated() {
    let (server, _turn) = server();
    let mut client = server.cluster.connect("postgres");
    for (setting, value, why) in [
        (LIST, "10.0.0.0/8, http://evolution-api:8080", "host:port (evolution-api:8080)"),
        (LIST, "10.0.0.0/33", "is no address"),
        (LIST, "169.254.169.254", "which is never called"),
        ("whaply.http_proxy", "proxy:3128", "a proxy is http://host:port"),
        ("whaply.http_proxy", "socks5://proxy:1080", "a proxy is http://host:port"),
        ("whaply.http_proxy", "http://me:pass-word-43@proxy:3128", "file:/path or env:NAME"),
        ("whaply.ca_file", "authorities.pem", "absolute path"),
    ] {
        let error = client.batch_execute(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
        let error = error.expect_err(value);
        let error = error.as_db_error().expect("the server says it");
        let told = format!("{} {}", error.message(), error.detail().unwrap_or_default());
        assert!(told.contains(why) && !told.contains("pass-word-43"), "{value}: {told}");
    }
    let changed = "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL";
    assert_eq!(client.query_one(changed, &[]).expect("a count").get::<_, i64>(0), 0);
}

/// A file that the server can read, for as long as this lives.
struct Readable(std::path::PathBuf);

impl Readable {
    fn with(name: &str, content: &str) -> Self {
        let path = env::temp_dir().join(format!("whaply-tests-{name}-{}", std::process::id()));
        let file = Self(path);
        file.now_holds(content);
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o644)).expect("our own");
        file
    }

    fn now_holds(&self, content: &str) {
        fs::write(&self.0, content).expect("a file of our own");
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a plain name")
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
