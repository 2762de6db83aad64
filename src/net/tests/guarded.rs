//! Which calls leave at all, by which way, and what of an endless answer is read.

use super::*;

fn outgoing(list: &str) -> Outgoing {
    Outgoing { reach: list.parse().unwrap(), ..Outgoing::default() }
}

fn caller_by(list: &str) -> Caller {
    Caller::new(&Limits::default(), outgoing(list))
}

fn withheld(result: CallResult) -> String {
    match result {
        Err(CallError::Withheld(why)) => why,
        other => panic!("not Withheld: {other:?}"),
    }
}

/// A listening port that must never be connected to.
struct Nobody(TcpListener);

impl Nobody {
    fn listens() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn was_never_called(self) {
        assert!(self.0.accept().is_err(), "somebody has connected");
    }
}

#[test]
fn a_private_address_that_is_not_listed_is_not_connected_to() {
    let nobody = Nobody::listens();
    let port = nobody.port();
    for host in
        ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST"]
    {
        for list in ["off", "10.0.0.0/8", "127.0.0.1:1, localhost:1"] {
            let why = withheld(caller_by(list).call(&post(&format!("http://{host}:{port}/"))));
            assert!(why.contains("ALTER SYSTEM SET whaply.allow_private_addresses"), "{why}");
        }
    }
    nobody.was_never_called();
}

#[test]
fn what_is_never_called_is_forbidden_and_names_no_line_to_add() {
    for host in ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[::ffff:169.254.169.254]"] {
        match caller_by("on").call(&post(&format!("http://{host}/"))) {
            Err(CallError::Forbidden(why)) => assert!(why.contains("is never called"), "{why}"),
            other => panic!("{host}: {other:?}"),
        }
    }
}

#[test]
fn a_name_that_leads_to_this_machine_may_be_listed_by_name_and_port() {
    let (url, _server) = answering(plain("200 OK", "", "{}"));
    let url = url.replace("127.0.0.1", "localhost");
    let port = Url::parse(&url).unwrap().port().unwrap();
    let caller = caller_by("");
    let why = withheld(caller.call(&post(&url)));
    assert!(why.starts_with("localhost has a loopback address"), "{why}");
    assert!(why.contains(&format!("= 'localhost:{port}'")), "{why}");
    assert!(caller.go_by(outgoing(&format!("localhost:{port}"))), "the line that was told");
    assert_eq!(caller.call(&post(&url)).unwrap().status, 200);
}

#[test]
fn a_connection_that_is_kept_is_of_no_use_once_its_address_is_taken_from_the_list() {
    let (url, _server) = server(1, |mut stream| {
        read_request(&mut stream);
        stream.write_all(plain("200 OK", "", "{}").as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let caller = caller_by("127.0.0.1");
    assert_eq!(caller.call(&post(&url)).unwrap().status, 200);
    assert!(!caller.go_by(outgoing("127.0.0.1")), "nothing has changed");
    let clone = caller.clone();
    assert!(caller.go_by(outgoing("10.0.0.0/8")));
    withheld(clone.call(&post(&url)));
}

/// A proxy that lets one call through, to itself; its thread ends with both requests.
fn proxy() -> (String, JoinHandle<Option<[String; 2]>>) {
    let (url, thread) = server(1, |mut stream| {
        let connect = read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let request = read_request(&mut stream);
        stream.write_all(plain("200 OK", "", "{}").as_bytes()).unwrap();
        [connect, request]
    });
    (url.trim_end_matches("/path").to_owned(), thread)
}

fn by_proxy(list: &str, proxy: &str) -> Caller {
    let proxy = Ok(Some(Proxy::parse(proxy).unwrap()));
    Caller::new(&Limits::default(), Outgoing { proxy, ..outgoing(list) })
}

#[test]
fn a_proxy_that_is_set_is_asked_for_names_and_needs_no_place_in_the_list() {
    let (url, thread) = proxy();
    let url = url.replace("://", "://user:pass-word@");
    let caller = by_proxy("", &url);
    assert_eq!(caller.call(&post("http://nowhere.invalid:81/path")).unwrap().status, 200);
    let [connect, request] = thread.join().unwrap().unwrap();
    assert!(connect.starts_with("CONNECT nowhere.invalid:81 HTTP/1.1\r\n"), "{connect}");
    assert!(connect.contains("Proxy-Authorization: Basic dXNlcjpwYXNzLXdvcmQ=\r\n"), "{connect}");
    assert!(
        !connect.contains(KEY) && request.contains(KEY),
        "the key is no part of what the proxy is asked"
    );
}

#[test]
fn what_is_private_never_goes_to_the_proxy() {
    let nobody = Nobody::listens();
    let proxy = format!("http://127.0.0.1:{}", nobody.port());
    for host in ["10.0.3.7", "localhost", "evolution-api", "metadata.google.internal"] {
        withheld(by_proxy("", &proxy).call(&post(&format!("http://{host}:8080/"))));
    }
    let (url, _server) = answering(plain("200 OK", "", "{}"));
    assert_eq!(by_proxy("127.0.0.1", &proxy).call(&post(&url)).unwrap().status, 200, "directly");
    nobody.was_never_called();
}

#[test]
fn a_proxy_that_refuses_was_sent_nothing_and_its_password_is_not_told() {
    let (url, _server) =
        answering("HTTP/1.1 407 no pass-word for you\r\ncontent-length: 0\r\n\r\n");
    let url = url.trim_end_matches("/path").replace("://", "://user:pass-word@");
    let why = not_sent(by_proxy("", &url).call(&post("http://api.example.com/")));
    assert!(why.starts_with("api.example.com by whaply.http_proxy: "), "{why}");
    assert!(why.contains("407") && !why.contains("pass-word"), "{why}");
}

#[test]
fn nothing_goes_past_a_proxy_that_is_wanted_but_not_known() {
    let proxy = Err("the file is not there".to_owned());
    let caller = Caller::new(&Limits::default(), Outgoing { proxy, ..outgoing("127.0.0.1") });
    let why = withheld(caller.call(&post("http://nowhere.invalid/")));
    assert!(why.contains("whaply.http_proxy cannot be used"), "{why}");
}

#[test]
fn headers_without_an_end_are_not_read_to_their_end() {
    let (url, _server) = server(1, |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let line = format!("x-more: {}\r\n", "y".repeat(1000));
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let why = unknown(caller().call(&post(&url)));
    assert!(why.ends_with("the headers of the answer are larger than 15360 bytes"), "{why}");
}

#[test]
fn long_headers_are_read() {
    let header = format!("x-large: {}\r\n", "y".repeat(14_000));
    let (url, _server) = answering(plain("200 OK", &header, "{}"));
    assert_eq!(caller().call(&post(&url)).unwrap().body, b"{}");
}

/// 100,000 blanks in 133 bytes.
#[test]
fn an_answer_that_grows_when_unpacked_is_measured_unpacked() {
    let limits = Limits { answer_bytes: 99_999, ..Limits::default() };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        BLANKS.len()
    );
    let (url, _server) = answering([head.as_bytes(), BLANKS].concat());
    let why = unknown(caller_with(&limits).call(&post(&url)));
    assert!(why.ends_with("the answer is larger than 99999 bytes"), "{why}");
}

#[test]
fn a_body_without_an_end_is_not_read_to_its_end() {
    let (url, _server) = server(1, |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    let why = unknown(caller().call(&post(&url)));
    assert!(why.contains("the answer is larger than"), "{why}");
}

const BLANKS: &[u8] = b"\
    \x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\x2a\xeb\x9f\
    \xd2\x1a\x1e\x40\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xaf\x06\x2d\xf0\x79\xca\xa0\x86\x01\
    \x00";
