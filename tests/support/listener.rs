//! The listener inside the server, seen from outside: a cluster that has one, raw requests to it, and
//! what it answers. It starts no fake.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use chrono::Utc;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterOptions};
use crate::database::Database;
use crate::payload::Line;
use crate::person::Person;
use crate::ports::free_port;
use crate::rows::PATIENCE;
use crate::scene::insert_tenant;
use crate::wait::wait_until;

/// An address of a listener to be.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// A server with a listener at `address`, which comes up as soon as one database has the extension.
pub fn cluster_with_listener(address: SocketAddr, options: ClusterOptions) -> Cluster {
    Cluster::start(options.in_a_hurry().with("whaply.listen", &address.to_string()))
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends one request on a connection of its own. An error: it was closed without an answer.
pub fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut connection = connect(address)?;
    send(&mut connection, method, path, headers, body)?;
    read_answer(&mut connection)
}

/// The same, for what is answered.
#[track_caller]
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let answer = try_request(address, method, path, headers, body);
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[], b"")
}

/// A connection that gives up after [`PATIENCE`].
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// Writes a whole request; the connection stays open.
pub fn send(
    connection: &mut TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)
}

/// Reads one answer, as long as its `content-length` says.
pub fn read_answer(connection: &mut impl Read) -> io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {head}")))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap_or(0))];
    connection.read_exact(&mut body)?;
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Returns when the listener says that all is well.
#[track_caller]
pub fn wait_until_well(address: SocketAddr) {
    wait_until("the listener to be well", PATIENCE, || {
        match try_request(address, "GET", "/healthz", &[], b"") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{answer:?}")),
            Err(error) => Err(error.to_string()),
        }
    });
}

/// Returns when nobody listens.
#[track_caller]
pub fn wait_until_closed(address: SocketAddr) {
    wait_until("the listener to be gone", PATIENCE, || TcpStream::connect(address).is_err());
}

/// A tenant that answers nobody; its secret.
#[track_caller]
pub fn silent_tenant(db: &Database, instance: &str) -> String {
    let columns =
        [("instance_name", instance), ("evo_server_url", "http://127.0.0.1:1"), ("mode", "off")];
    insert_tenant(db, &columns.map(|(name, value)| (name.to_owned(), value.to_owned())));
    db.value("SELECT webhook_secret FROM whaply.tenants WHERE instance_name = $1", &[&instance])
}

/// The webhook of a customer's message. Ids that differ are of customers that differ.
pub fn message(instance: &str, id: &str, text: &str) -> Value {
    let line = Line::new(instance);
    let number = id.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let customer = Person::with_phone(&format!("551199{:07}", number % 10_000_000));
    let content = json!({ "conversation": text });
    let data = line.customer_message(&customer, id, content, "conversation", Utc::now());
    line.envelope("messages.upsert", data, "http://listener")
}
