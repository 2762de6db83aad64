//! Calls against servers of a few lines, each on its own port and thread, that misbehave in one
//! way each. No test looks at how long anything took.

mod guarded;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use super::*;
use url::Url;

const KEY: &str = "sk-secret-key-of-the-tenant";

/// Ends what hangs. Every other call is over long before.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

fn caller() -> Caller {
    caller_with(&Limits::default())
}

/// The servers of these tests are on this machine.
fn caller_with(limits: &Limits) -> Caller {
    Caller::new(limits, Outgoing { reach: "127.0.0.1".parse().unwrap(), ..Outgoing::default() })
}

fn post(url: &str) -> HttpRequest {
    HttpRequest {
        method: Method::Post,
        url: Url::parse(url).unwrap(),
        headers: vec![
            ("authorization", Secret::new(format!("Bearer {KEY}"))),
            ("content-type", Secret::new("application/json")),
        ],
        body: r#"{"text":"Olá"}"#.into(),
        timeout: LONG,
    }
}

/// A server that hands each of its first `connections` to `handle`; its URL and its thread, which
/// ends with what `handle` last returned.
fn server<T: Send + 'static>(
    connections: usize,
    handle: impl Fn(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<Option<T>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/path", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        listener.incoming().take(connections).map(|stream| handle(stream.unwrap())).last()
    });
    (url, thread)
}

/// Reads one request: its head and as much body as it announces.
fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let announced = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if read.len() >= head + 4 + announced {
                return String::from_utf8(read).unwrap();
            }
        }
        let count = stream.read(&mut chunk).unwrap();
        assert_ne!(count, 0, "the client hung up: {text}");
        read.extend_from_slice(&chunk[..count]);
    }
}

/// A server that answers one request with `answer` and hangs up. Its thread ends with the request.
fn answering(answer: impl Into<Vec<u8>>) -> (String, JoinHandle<Option<String>>) {
    let answer = answer.into();
    server(1, move |mut stream| {
        let request = read_request(&mut stream);
        stream.write_all(&answer).unwrap();
        request
    })
}

fn plain(status: &str, extra: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{extra}\r\n{body}", body.len())
}

/// A server that holds one connection open without a word, until the client hangs up.
fn silent() -> (String, JoinHandle<Option<()>>) {
    server(1, |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn not_sent(result: CallResult) -> String {
    match result {
        Err(CallError::NotSent(why)) => why,
        other => panic!("not a NotSent: {other:?}"),
    }
}

fn unknown(result: CallResult) -> String {
    match result {
        Err(CallError::Unknown(why)) => why,
        other => panic!("not an Unknown: {other:?}"),
    }
}

#[test]
fn a_call_sends_what_it_was_given_and_no_expect_header() {
    let (url, server) = answering(plain("201 Created", "", "{}"));
    let response = caller().call(&post(&url)).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (201, b"{}".as_slice()));
    let request = server.join().unwrap().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /path HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, r#"{"text":"Olá"}"#);
    let head = head.to_lowercase();
    assert!(head.contains(&format!("\r\nuser-agent: whaply/{}", env!("CARGO_PKG_VERSION"))));
    assert!(head.contains(&format!("\r\nauthorization: bearer {KEY}")));
    assert!(!head.contains("expect:"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
}

#[test]
fn a_get_has_no_body() {
    let (url, server) = answering(plain("200 OK", "", "{}"));
    let request = HttpRequest { method: Method::Get, body: String::new(), ..post(&url) };
    assert_eq!(caller().call(&request).unwrap().status, 200);
    assert!(server.join().unwrap().unwrap().starts_with("GET /path HTTP/1.1\r\n"));
}

#[test]
fn a_connection_is_kept_for_the_next_call() {
    let (url, server) = server(1, |mut stream| {
        for _ in 0..2 {
            read_request(&mut stream);
            stream.write_all(plain("200 OK", "", "{}").as_bytes()).unwrap();
        }
    });
    let caller = caller();
    for caller in [caller.clone(), caller] {
        assert_eq!(caller.call(&post(&url)).unwrap().status, 200);
    }
    server.join().unwrap();
}

#[test]
fn a_compressed_answer_is_read() {
    let gzip =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        gzip.len()
    );
    let (url, _server) = answering([head.as_bytes(), gzip].concat());
    assert_eq!(caller().call(&post(&url)).unwrap().body, b"{}");
}

#[test]
fn a_closed_port_was_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let why = not_sent(caller().call(&post(&format!("http://{address}/"))));
    assert!(why.starts_with(&address), "{why}");
}

#[test]
fn an_unknown_name_was_sent_nothing() {
    not_sent(caller().call(&post("http://nowhere.invalid/")));
}

#[test]
fn a_tls_handshake_that_fails_or_hangs_was_sent_nothing() {
    let (url, _server) = server(1, |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    not_sent(caller().call(&post(&url.replace("http:", "https:"))));
    let (url, _server) = silent();
    let request = HttpRequest { timeout: SHORT, ..post(&url.replace("http:", "https:")) };
    let why = not_sent(caller().call(&request));
    assert!(why.ends_with("connecting timed out"), "{why}");
}

#[test]
fn other_schemes_are_not_called() {
    for url in ["ftp://127.0.0.1/", "mailto:a@example.com"] {
        assert!(not_sent(caller().call(&post(url))).contains("only http and https"));
    }
}

#[test]
fn a_server_that_never_answers_may_have_acted() {
    let (url, _server) = silent();
    let why = unknown(caller().call(&HttpRequest { timeout: SHORT, ..post(&url) }));
    assert!(why.ends_with("no answer within 200ms"), "{why}");
}

#[test]
fn a_server_that_hangs_up_may_have_acted() {
    let (url, _server) = answering("");
    unknown(caller().call(&post(&url)));
    let (url, _server) = answering("HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{\"key\":");
    unknown(caller().call(&post(&url)));
    let (url, _server) = answering("this is no HTTP\r\n\r\n");
    unknown(caller().call(&post(&url)));
}

#[test]
fn an_answer_that_stops_halfway_may_have_acted() {
    let (url, _server) = server(1, |mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    unknown(caller().call(&HttpRequest { timeout: SHORT, ..post(&url) }));
}

#[test]
fn an_answer_over_the_limit_is_not_kept() {
    let limits = Limits { answer_bytes: 1024, ..Limits::default() };
    let (url, _server) = answering(plain("200 OK", "", &"x".repeat(1025)));
    let why = unknown(caller_with(&limits).call(&post(&url)));
    assert!(why.ends_with("the answer is larger than 1024 bytes"), "{why}");
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let location = format!("location: http://{}/\r\n", target.local_addr().unwrap());
    for status in ["301 Moved Permanently", "303 See Other", "307 Temporary Redirect"] {
        let (url, _server) = answering(plain(status, &location, ""));
        assert_eq!(caller().call(&post(&url)).unwrap().status.to_string(), status[..3]);
    }
    assert!(target.accept().is_err(), "the target of the redirect was called");
}

#[test]
fn the_body_of_an_error_is_read_with_the_key_masked() {
    let (url, _server) = answering(plain("401 Unauthorized", "", &format!("bad key {KEY}!")));
    let response = caller().call(&post(&url)).unwrap();
    assert_eq!(response.status, 401);
    assert_eq!(response.body, b"bad key ***!");
}

#[test]
fn a_key_that_no_header_can_hold_is_named_by_its_header_only() {
    let request = HttpRequest {
        headers: vec![("apikey", Secret::new("two\nlines"))],
        ..post("http://127.0.0.1:1/")
    };
    let why = not_sent(caller().call(&request));
    assert!(why.contains("apikey") && !why.contains("lines"), "{why}");
}

#[test]
fn a_password_in_the_url_is_not_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let why = not_sent(caller().call(&post(&format!("http://user:hunter22@{address}/"))));
    assert!(!why.contains("hunter22"), "{why}");
}

#[test]
fn retry_after_is_read_from_the_answer() {
    let (url, _server) = answering(plain("429 Too Many Requests", "Retry-After: 17\r\n", ""));
    let response = caller().call(&post(&url)).unwrap();
    assert_eq!((response.status, response.retry_after), (429, Some(Duration::from_secs(17))));
}

#[test]
fn retry_after_may_be_seconds_or_a_date_and_is_at_most_an_hour() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_761_055_200);
    let date = |seconds| httpdate::fmt_http_date(now + Duration::from_secs(seconds));
    let parse = |text: &str| retry_after::parse(text, now).map(|wait| wait.as_secs_f64());
    assert_eq!(parse("30"), Some(30.0));
    assert_eq!(parse(" 0.5 "), Some(0.5));
    assert_eq!(parse("86400"), Some(3600.0));
    assert_eq!(parse(&date(90)), Some(90.0));
    assert_eq!(parse(&date(86_400)), Some(3600.0));
    assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0.0));
    for nonsense in ["", "soon", "-5"] {
        assert_eq!(parse(nonsense), None, "{nonsense}");
    }
}

#[test]
fn one_caller_serves_many_threads() {
    let (url, server) = server(4, |mut stream| {
        read_request(&mut stream);
        let answer = plain("200 OK", "connection: close\r\n", "{}");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let caller = caller();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(caller.call(&post(&url)).unwrap().status, 200));
        }
    });
    server.join().unwrap();
}
