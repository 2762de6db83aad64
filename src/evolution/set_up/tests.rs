//! One run against an Evolution that is played from a list of answers.

use url::Url;

use super::*;
use crate::exchange::{CallError, HttpResponse};

const URL: &str = "https://db.example.com/webhook";
const CODE: &str = "2@FAKEQRDATA,abc,def";

fn wanted(own_key: Option<&str>, global_key: Option<&str>) -> Wanted {
    Wanted {
        instance: Instance {
            base_url: Url::parse("https://evo.example.com/api").unwrap(),
            name: "Loja / 1".to_owned(),
            api_key: own_key.map(Secret::new),
        },
        global_key: Ok(global_key.map(Secret::new)),
        webhook: Webhook::new(URL, Some(&Secret::new("the-secret")), Some(&Secret::new("jwt-key"))),
        timeout: Duration::from_secs(60),
    }
}

/// What Evolution answers, by the beginning of the path; of each the first that is left.
struct Played {
    answers: Vec<(&'static str, CallResult)>,
    calls: Vec<(String, String, HttpRequest)>,
}

impl Played {
    fn new(answers: &[(&'static str, u16, String)]) -> Self {
        let answer = |(path, status, body): &(&'static str, u16, String)| {
            let body = body.clone().into_bytes();
            (*path, Ok(HttpResponse { status: *status, retry_after: None, body }))
        };
        Self { answers: answers.iter().map(answer).collect(), calls: Vec::new() }
    }

    fn run(&mut self, wanted: &Wanted) -> SetUp {
        set_up(wanted, |request| {
            let path = request.url.path().trim_start_matches("/api/").to_owned();
            let key = request.headers.iter().find(|(name, _)| *name == "apikey");
            let key = key.map_or("", |(_, key)| key.expose()).to_owned();
            self.calls.push((path.clone(), key, request.clone()));
            let place = self.answers.iter().position(|(known, _)| path.starts_with(known));
            let place = place.unwrap_or_else(|| panic!("nobody expected {path}"));
            self.answers.remove(place).1
        })
    }

    fn routes_and_keys(&self) -> Vec<String> {
        let route = |path: &str| path.split('/').take(2).collect::<Vec<_>>().join("/");
        self.calls.iter().map(|(path, key, _)| format!("{} {key}", route(path))).collect()
    }

    fn body(&self, route: &str) -> Value {
        let call = self.calls.iter().find(|(path, ..)| path.starts_with(route)).unwrap();
        serde_json::from_str(&call.2.body).unwrap()
    }
}

fn state(state: &str) -> (&'static str, u16, String) {
    let body = format!(r#"{{"instance":{{"instanceName":"Loja / 1","state":"{state}"}}}}"#);
    ("instance/connectionState", 200, body)
}

fn error(path: &'static str, status: u16, message: &str) -> (&'static str, u16, String) {
    (path, status, format!(r#"{{"status":{status},"response":{{"message":{message}}}}}"#))
}

fn no_instance() -> (&'static str, u16, String) {
    let message = r#"["The \"Loja / 1\" instance does not exist"]"#;
    error("instance/connectionState", 404, message)
}

/// The webhook is kept as it was set, and a code is shown.
fn the_rest() -> Vec<(&'static str, u16, String)> {
    let row = wanted(None, None).webhook.to_json().to_string();
    let qr = format!(r#"{{"pairingCode":"WZYEH1YY","code":"{CODE}","base64":"data:","count":1}}"#);
    vec![
        ("webhook/set", 201, "{}".to_owned()),
        ("webhook/find", 200, row),
        ("instance/connect/", 200, qr),
    ]
}

fn followed_by_the_rest(first: &[(&'static str, u16, String)]) -> Played {
    Played::new(&[first, &the_rest()].concat())
}

fn trouble(set_up: SetUp) -> (String, bool) {
    let trouble = set_up.line.unwrap_err();
    (trouble.message, trouble.may_pass)
}

#[test]
fn an_instance_that_is_not_there_is_made_with_the_global_key_and_its_token_is_used_from_then_on() {
    let created = ("instance/create", 201, r#"{"hash":"NEW-TOKEN"}"#.to_owned());
    let mut evolution = followed_by_the_rest(&[no_instance(), created]);
    let set_up = evolution.run(&wanted(None, Some("global")));
    let qr = QrCode { code: Secret::new(CODE), pairing_code: Some(Secret::new("WZYEH1YY")) };
    assert_eq!(set_up.line, Ok(Line::Scan(qr)));
    assert_eq!(set_up.token, Some(Secret::new("NEW-TOKEN")));
    assert_eq!(
        evolution.routes_and_keys(),
        [
            "instance/connectionState global",
            "instance/create global",
            "webhook/set NEW-TOKEN",
            "webhook/find NEW-TOKEN",
            "instance/connect NEW-TOKEN",
        ]
    );
    let body = evolution.body("instance/create");
    assert_eq!(body["instanceName"], "Loja / 1");
    assert_eq!((&body["integration"], &body["qrcode"]), (&"WHATSAPP-BAILEYS".into(), &true.into()));
    assert_eq!(body["webhook"]["url"], URL);
    assert!(body.get("token").is_none());
}

#[test]
fn the_webhook_has_url_secret_key_and_events() {
    let mut evolution = followed_by_the_rest(&[state("close")]);
    evolution.run(&wanted(Some("own"), None));
    let webhook = &evolution.body("webhook/set")["webhook"];
    let expected = serde_json::json!({ "x-whaply-secret": "the-secret", "jwt_key": "jwt-key" });
    assert_eq!(webhook["headers"], expected);
    assert_eq!((&webhook["enabled"], &webhook["url"]), (&true.into(), &URL.into()));
    assert_eq!((&webhook["byEvents"], &webhook["base64"]), (&false.into(), &false.into()));
    let events: Vec<&str> =
        webhook["events"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for event in ["MESSAGES_UPSERT", "SEND_MESSAGE", "CONNECTION_UPDATE", "QRCODE_UPDATED"] {
        assert!(events.contains(&event), "{event}");
    }
}

#[test]
fn an_open_instance_gets_its_webhook_and_keeps_its_key() {
    let mut evolution = followed_by_the_rest(&[state("open")]);
    let set_up = evolution.run(&wanted(Some("own"), Some("global")));
    assert_eq!(set_up, SetUp { token: None, line: Ok(Line::Open) });
    let calls = ["instance/connectionState own", "webhook/set own", "webhook/find own"];
    assert_eq!(evolution.routes_and_keys(), calls);
}

#[test]
fn the_token_of_an_instance_that_is_there_is_asked_for_by_a_tenant_without_one() {
    let rows = r#"[{"name":"other","token":"X"},{"name":"Loja / 1","token":"KEPT"}]"#;
    let fetched = ("instance/fetchInstances", 200, rows.to_owned());
    let mut evolution = followed_by_the_rest(&[state("open"), fetched]);
    let set_up = evolution.run(&wanted(None, Some("global")));
    assert_eq!((set_up.token, set_up.line), (Some(Secret::new("KEPT")), Ok(Line::Open)));
    assert_eq!(evolution.routes_and_keys()[2], "webhook/set KEPT");
    assert_eq!(evolution.calls[1].2.url.query(), Some("instanceName=Loja+%2F+1"));

    let hidden =
        ("instance/fetchInstances", 200, r#"[{"name":"Loja / 1","token":null}]"#.to_owned());
    let mut evolution = Played::new(&[state("open"), hidden]);
    let (message, may_pass) = trouble(evolution.run(&wanted(None, Some("global"))));
    assert!(message.contains("enter it in tenants.evo_api_key") && !may_pass, "{message}");
}

#[test]
fn an_instance_is_made_with_the_key_that_its_tenant_has_already() {
    let created = ("instance/create", 201, r#"{"hash":"own"}"#.to_owned());
    let mut evolution = followed_by_the_rest(&[no_instance(), created.clone()]);
    let set_up = evolution.run(&wanted(Some("own"), Some("global")));
    assert_eq!((set_up.token, set_up.line.is_ok()), (None, true));
    assert_eq!(evolution.body("instance/create")["token"], "own");
    assert_eq!(evolution.routes_and_keys()[1..3], ["instance/create global", "webhook/set own"]);

    // The tenant's key is the global one: no instance is to have it as its token.
    let mut evolution = followed_by_the_rest(&[no_instance(), created]);
    evolution.run(&wanted(Some("global"), None));
    assert!(evolution.body("instance/create").get("token").is_none());
    assert_eq!(evolution.routes_and_keys()[2], "webhook/set global");
}

#[test]
fn a_wrong_key_is_told_with_the_setting_it_comes_from() {
    let refused = |path| error(path, 401, r#""Unauthorized""#);
    for (wanted, answers, words) in [
        (
            wanted(None, Some("bad1")),
            vec![refused("instance/connectionState")],
            "whaply.evolution_api_key",
        ),
        (wanted(None, Some("bad1")), vec![no_instance(), refused("instance/create")], "global key"),
        (wanted(Some("bad1"), None), vec![refused("instance/connectionState")], "another token"),
        (
            wanted(Some("bad1"), None),
            vec![no_instance(), refused("instance/create")],
            "only Evolution's global key",
        ),
        (wanted(None, None), vec![], "no evo_api_key"),
    ] {
        let (message, may_pass) = trouble(Played::new(&answers).run(&wanted));
        assert!(message.contains(words) && !may_pass, "{message}");
        assert!(!message.contains("bad1"), "{message}");
    }
    let broken = Wanted { global_key: Err("cannot be read".to_owned()), ..wanted(None, None) };
    assert_eq!(trouble(Played::new(&[]).run(&broken)), ("cannot be read".to_owned(), false));
}

#[test]
fn what_may_pass_is_tried_again_and_what_cannot_is_not() {
    let path = "instance/connectionState";
    for (answer, may_pass) in [
        (error(path, 500, r#""Timed Out""#), true),
        (error(path, 503, r#""x""#), true),
        ((path, 200, "<html>".to_owned()), true),
        (error(path, 404, r#"["Cannot GET /instance"]"#), false),
        ((path, 404, "<html>".to_owned()), false),
        ((path, 308, String::new()), false),
        (error(path, 403, r#"["Forbidden"]"#), false),
    ] {
        let found =
            trouble(Played::new(std::slice::from_ref(&answer)).run(&wanted(Some("own"), None)));
        assert_eq!(found.1, may_pass, "{answer:?}: {found:?}");
    }
    // Somebody, perhaps a run of before, has made it since.
    let taken = error("instance/create", 403, r#"["This name \"Loja / 1\" is already in use."]"#);
    let mut evolution = Played::new(&[no_instance(), taken]);
    assert!(trouble(evolution.run(&wanted(None, Some("global")))).1);
    let mut evolution = Played::new(&[]);
    evolution.answers.push((path, Err(CallError::NotSent("evo: refused".to_owned()))));
    let (message, may_pass) = trouble(evolution.run(&wanted(Some("own"), None)));
    assert!(message == "connectionState failed: evo: refused" && may_pass);
    for (error, expected) in [
        (CallError::Withheld("add it to the list".to_owned()), true),
        (CallError::Forbidden("is never called".to_owned()), false),
    ] {
        let mut evolution = Played::new(&[]);
        evolution.answers.push((path, Err(error.clone())));
        let (message, may_pass) = trouble(evolution.run(&wanted(Some("own"), None)));
        assert!(message.contains(error.message()) && may_pass == expected, "{message}");
    }
}

#[test]
fn a_webhook_that_evolution_does_not_keep_is_told_by_what_differs() {
    let same = wanted(None, None).webhook;
    assert_eq!(same.difference(&same.to_json()), None);
    for (pointer, value, difference) in [
        ("/url", "http://elsewhere".into(), "url"),
        ("/enabled", false.into(), "enabled"),
        ("/events", serde_json::json!(["MESSAGES_UPSERT"]), "events"),
        ("/headers/x-whaply-secret", "wrong".into(), "headers"),
    ] {
        let mut row = same.to_json();
        *row.pointer_mut(pointer).unwrap() = value;
        assert_eq!(same.difference(&row), Some(difference));
    }
    assert_eq!(same.difference(&Value::Null), Some("there is none"));
    let null = ("webhook/find", 200, "null".to_owned());
    let set = ("webhook/set", 201, "{}".to_owned());
    let (message, may_pass) =
        trouble(Played::new(&[state("close"), set, null]).run(&wanted(Some("own"), None)));
    assert!(message.contains("there is none") && may_pass, "{message}");
}

#[test]
fn connect_tells_a_code_an_open_line_or_nothing_yet() {
    let read = |body: &str| instances::read_connect(&serde_json::from_str(body).unwrap());
    let code = |body| match read(body) {
        Connecting::Scan(qr) => Some((qr.code.expose().to_owned(), qr.pairing_code.is_some())),
        _ => None,
    };
    assert_eq!(code(r#"{"pairingCode":null,"code":"2@a","count":1}"#), Some(("2@a".into(), false)));
    assert_eq!(code(r#"{"instance":{"status":"x"},"qrcode":{"code":"2@a"}}"#).unwrap().0, "2@a");
    assert_eq!(read(r#"{"instance":{"instanceName":"x","state":"open"}}"#), Connecting::Open);
    assert_eq!(read(r#"{"count":0}"#), Connecting::NoCodeYet);
    assert_eq!(read(r#"{"code":"two\nlines"}"#), Connecting::NoCodeYet);
    let failed = read(r#"{"error":true,"message":"Error: no"}"#);
    assert_eq!(failed, Connecting::Failed("Error: no".to_owned()));
}

#[test]
fn no_secret_stands_in_an_error() {
    let repeated =
        error("webhook/set", 500, r#""the-secret jwt-key own-key https://db.example.com/webhook""#);
    let answers = [state("close"), repeated];
    let (message, _) = trouble(Played::new(&answers).run(&wanted(Some("own-key"), Some("global"))));
    assert_eq!(message, "webhook/set answered 500: *** *** *** ***");
    for place in 255..290 {
        let words = format!("\"{} the-secret\"", "x".repeat(place));
        let answers = [state("close"), error("webhook/set", 500, &words)];
        let (message, _) = trouble(Played::new(&answers).run(&wanted(Some("own-key"), None)));
        assert!(!message.contains("the-"), "not even the beginning of one: {message}");
    }
    let qr = QrCode::read(&serde_json::json!({ "code": CODE, "pairingCode": "WZYEH1YY" }));
    let shown = format!("{qr:?} {:?}", wanted(Some("own-key"), Some("global")));
    for secret in [CODE, "WZYEH1YY", "own-key", "global\"", "the-secret", "db.example.com"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
