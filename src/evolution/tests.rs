//! The requests made to Evolution, and its answers as recorded from a running 2.3.6.

use super::*;
use crate::exchange::{CallError, CallResult, HttpResponse};

const TIMEOUT: Duration = Duration::from_secs(60);
const JID: &str = "5511999990001@s.whatsapp.net";

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/http/", $name, ".json"))
    };
}

fn instance(base_url: &str, name: &str) -> Instance {
    Instance {
        base_url: Url::parse(base_url).unwrap(),
        name: name.into(),
        api_key: Some(Secret::new("token-of-the-instance")),
    }
}

fn demo() -> Instance {
    instance("https://evo.example.com", "loja-demo")
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

fn response(status: u16, body: &str) -> CallResult {
    Ok(HttpResponse { status, retry_after: None, body: body.into() })
}

fn sent(status: u16, body: &str) -> SendOutcome {
    read_send_text(response(status, body))
}

/// The class of a send that did not go out; `None` if that is not certain.
fn class(outcome: &SendOutcome) -> Option<NotSentClass> {
    match outcome {
        SendOutcome::NotSent(not_sent) => Some(not_sent.class),
        _ => None,
    }
}

/// Whether an uncertain send is held; `None` if its end is certain.
fn held(outcome: &SendOutcome) -> Option<bool> {
    match outcome {
        SendOutcome::Uncertain(uncertain) => Some(uncertain.hold),
        _ => None,
    }
}

fn message(outcome: SendOutcome) -> String {
    match outcome {
        SendOutcome::Sent(sent) => panic!("sent as {}", sent.message_id),
        SendOutcome::NotSent(not_sent) => not_sent.message,
        SendOutcome::Uncertain(uncertain) => uncertain.message,
    }
}

#[test]
fn send_text_names_the_full_jid_and_no_preview() {
    let request = send_text(&demo(), JID, "Olá! https://x.com", TIMEOUT);
    assert_eq!(request.method, Method::Post);
    assert_eq!(request.url.as_str(), "https://evo.example.com/message/sendText/loja-demo");
    assert_eq!(
        body(&request),
        serde_json::json!({ "number": JID, "text": "Olá! https://x.com", "linkPreview": false })
    );
    let key = request.headers.iter().find(|(name, _)| *name == "apikey").unwrap();
    assert_eq!(key.1.expose(), "token-of-the-instance");
}

#[test]
fn an_instance_name_is_one_path_segment_below_any_prefix() {
    for (base, url) in [
        ("http://h/", "http://h/message/sendText/Loja%20%2F%20100%25%3F"),
        ("http://h/evo", "http://h/evo/message/sendText/Loja%20%2F%20100%25%3F"),
        ("http://h/evo/?instanceName=x#y", "http://h/evo/message/sendText/Loja%20%2F%20100%25%3F"),
    ] {
        let request = send_text(&instance(base, "Loja / 100%?"), JID, "a", TIMEOUT);
        assert_eq!(request.url.as_str(), url);
    }
}

#[test]
fn a_taken_message_has_id_jid_and_time() {
    let expected = SentMessage {
        message_id: "3EB0D6BED313D4615C70C6".into(),
        jid: Some(JID.into()),
        sent_at: Some(1_761_055_200),
    };
    assert_eq!(sent(201, recorded!("sendText.201")), SendOutcome::Sent(expected));
}

#[test]
fn meta_errors_come_with_status_201_and_are_judged_by_code() {
    use NotSentClass::{Configuration, Deferred, Rejected, Transient};
    let outcome = sent(201, recorded!("sendText.201.cloud_api_error"));
    assert_eq!(class(&outcome), Some(Rejected));
    assert!(message(outcome).contains("Recipient phone number not in allowed list"));
    for (code, expected) in [
        (190, Configuration),
        (10, Configuration),
        (131_047, Rejected),
        (130_429, Deferred),
        (131_016, Transient),
    ] {
        let body = format!(r#"{{"message":"x","type":"OAuthException","code":{code}}}"#);
        assert_eq!(class(&sent(201, &body)), Some(expected), "{code}");
    }
}

#[test]
fn success_without_an_id_is_looked_up() {
    for body in ["", "<html>", "{}", r#"{"key":{"id":""}}"#] {
        assert_eq!(held(&sent(201, body)), Some(false), "{body}");
    }
}

#[test]
fn what_evolution_refuses_before_sending_is_not_sent_again() {
    for body in [
        recorded!("sendText.400.number_not_on_whatsapp"),
        recorded!("sendText.400.text_required"),
        recorded!("sendText.400.validation"),
    ] {
        assert_eq!(class(&sent(400, body)), Some(NotSentClass::Rejected), "{body}");
    }
    assert_eq!(class(&sent(413, "")), Some(NotSentClass::Rejected));
    let words = message(sent(400, recorded!("sendText.400.number_not_on_whatsapp")));
    assert_eq!(words, "sendText answered 400: the number is not on WhatsApp; it is not sent again");
}

#[test]
fn a_socket_that_failed_while_sending_is_looked_up() {
    assert_eq!(held(&sent(400, recorded!("sendText.400.connection_closed"))), Some(false));
    let timed_out = r#"{"status":400,"response":{"message":["Error: Timed Out"]}}"#;
    assert_eq!(held(&sent(400, timed_out)), Some(false));
}

#[test]
fn a_400_that_may_follow_the_sending_is_held() {
    for body in [
        recorded!("sendText.400.sent_but_db_failed"),
        recorded!("sendText.400.group_not_found"),
        "<html>Bad Request</html>",
        "",
    ] {
        assert_eq!(held(&sent(400, body)), Some(true), "{body}");
    }
}

#[test]
fn a_500_of_the_number_check_is_tried_again() {
    let outcome = sent(500, recorded!("sendText.500.connection_closed"));
    assert_eq!(class(&outcome), Some(NotSentClass::SocketClosed));
}

#[test]
fn an_instance_that_is_not_loaded_waits_for_its_line() {
    let outcome = sent(500, recorded!("any.500.instance_not_loaded"));
    assert_eq!(class(&outcome), Some(NotSentClass::LineDown));
}

#[test]
fn settings_are_blamed_for_key_instance_route_and_redirect() {
    for (status, body, word) in [
        (401, recorded!("any.401"), "API key"),
        (404, recorded!("any.404.instance"), "instance_name"),
        (404, recorded!("any.404.route"), "evo_server_url"),
        (301, "", "evo_server_url redirects; enter the final URL"),
        (308, "", "evo_server_url redirects; enter the final URL"),
    ] {
        let outcome = sent(status, body);
        assert_eq!(class(&outcome), Some(NotSentClass::Configuration), "{status}");
        assert!(message(outcome).contains(word));
    }
}

#[test]
fn proxies_that_cannot_reach_evolution_sent_nothing() {
    for status in [521, 523] {
        assert_eq!(class(&sent(status, "<html>")), Some(NotSentClass::Transient), "{status}");
    }
    let refused = read_send_text(Err(CallError::NotSent("connection refused".into())));
    assert_eq!(class(&refused), Some(NotSentClass::Transient));
}

#[test]
fn a_call_that_the_settings_keep_in_waits_and_one_that_they_forbid_fails() {
    let withheld = read_send_text(Err(CallError::Withheld("10.0.0.1: add it".into())));
    assert_eq!(class(&withheld), Some(NotSentClass::Deferred));
    let forbidden = read_send_text(Err(CallError::Forbidden("169.254.169.254".into())));
    assert_eq!(class(&forbidden), Some(NotSentClass::Configuration));
    for (outcome, words) in [(withheld, "10.0.0.1: add it"), (forbidden, "check evo_server_url")] {
        assert!(format!("{outcome:?}").contains(words), "{outcome:?}");
    }
}

#[test]
fn a_query_that_is_redirected_says_so() {
    let response = HttpResponse { status: 302, retry_after: None, body: b"<html>".to_vec() };
    let error = read_connection_state(Ok(response)).unwrap_err();
    assert_eq!(
        error,
        "connectionState answered 302: evo_server_url redirects; enter the final URL"
    );
}

#[test]
fn a_server_that_asks_to_wait_defers() {
    let wait = Some(Duration::from_secs(9));
    for status in [429, 503] {
        let response = HttpResponse { status, retry_after: wait, body: Vec::new() };
        match read_send_text(Ok(response)) {
            SendOutcome::NotSent(not_sent) => {
                assert_eq!((not_sent.class, not_sent.retry_after), (NotSentClass::Deferred, wait));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_answer_and_unknown_server_errors_are_looked_up() {
    let timeout = read_send_text(Err(CallError::Unknown("timed out".into())));
    assert_eq!(held(&timeout), Some(false));
    for status in [500, 502, 503, 504, 520, 522, 524] {
        assert_eq!(held(&sent(status, "<html>gateway</html>")), Some(false), "{status}");
    }
}

#[test]
fn a_page_of_html_becomes_one_short_line() {
    let words = message(sent(404, &"<p>no\nsuch page</p>\n".repeat(500)));
    assert!(words.chars().count() < 450 && !words.contains('\n'), "{words}");
}

#[test]
fn connection_state_is_asked_and_read() {
    let request = connection_state(&demo(), TIMEOUT);
    assert_eq!((request.method, request.body.as_str()), (Method::Get, ""));
    assert_eq!(request.url.path(), "/instance/connectionState/loja-demo");
    let read = |status, body| read_connection_state(response(status, body));
    assert_eq!(read(200, recorded!("instance.connectionState.200")), Ok(Some(State::Open)));
    assert_eq!(read(200, r#"{"instance":{"instanceName":"loja-demo"}}"#), Ok(None));
    assert!(read(200, r#"{"instance":{"state":"asleep"}}"#).unwrap_err().contains("asleep"));
    assert!(read(404, recorded!("any.404.instance")).unwrap_err().contains("does not exist"));
    assert!(read(200, "<html>").unwrap_err().contains("evo_server_url"));
}

#[test]
fn every_connection_state_reads_as_it_is_written() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
}

#[test]
fn find_messages_asks_for_our_own_in_one_chat_by_page() {
    let request = find_messages(&demo(), JID, 3, TIMEOUT);
    assert_eq!(request.url.path(), "/chat/findMessages/loja-demo");
    assert_eq!(
        body(&request),
        serde_json::json!({
            "where": { "key": { "remoteJid": JID, "fromMe": true } }, "page": 3, "offset": 50
        })
    );
}

#[test]
fn found_messages_are_read_with_text_from_either_place() {
    let body = r#"{"messages":{"total":4,"pages":1,"currentPage":1,"records":[
        {"id":"c1","key":{"id":"A","fromMe":true,"remoteJid":"x"},"message":{"conversation":"Oi"},"messageTimestamp":1761055200},
        {"id":"c2","key":{"id":"B","fromMe":true},"message":{"extendedTextMessage":{"text":"Olá"}},"messageTimestamp":null},
        {"id":"c3","key":{"id":"C","fromMe":false},"message":{"ephemeralMessage":{"message":{"conversation":"E"}}}},
        {"id":"c4","key":{"id":"D"},"message":{"imageMessage":{}}},
        {"id":"c5","key":{}}]}}"#;
    let page = read_found(response(200, body)).unwrap();
    let found: Vec<_> = page
        .messages
        .iter()
        .map(|m| (m.id.as_str(), m.text.as_deref(), m.from_me, m.sent_at))
        .collect();
    assert_eq!(
        found,
        [
            ("A", Some("Oi"), true, Some(1_761_055_200)),
            ("B", Some("Olá"), true, None),
            ("C", Some("E"), false, None),
            ("D", None, false, None),
        ]
    );
    assert_eq!((page.pages, page.current), (1, 1));
}

#[test]
fn what_no_column_takes_is_no_id_and_no_state() {
    let long = "x".repeat(256);
    for id in ["", "a\\u0000", long.as_str()] {
        let body = format!(r#"{{"messages":{{"records":[{{"key":{{"id":"{id}"}}}}]}}}}"#);
        assert_eq!(read_found(response(200, &body)).unwrap().messages, []);
    }
    let body = format!(r#"{{"instance":{{"state":"{}"}}}}"#, "\\n".repeat(9_999));
    let why = read_connection_state(response(200, &body)).unwrap_err();
    assert!(why.chars().count() < 400, "{why}");
}

#[test]
fn an_unreadable_search_proves_nothing() {
    let none = r#"{"messages":{"total":0,"pages":0,"currentPage":1,"records":[]}}"#;
    assert_eq!(read_found(response(200, none)).unwrap().pages, 0);
    assert!(read_found(response(200, "{}")).unwrap_err().contains("records"));
    assert!(read_found(response(500, "{}")).unwrap_err().contains("500"));
    assert!(read_found(Err(CallError::Unknown("cut".into()))).unwrap_err().contains("cut"));
}
