//! Ports for servers that a test starts itself. Nobody else is given one meanwhile, not even before its
//! server listens, or while it is restarted.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex};

/// Below those that the system gives to whoever asks for any port: the fakes' and every client's.
const PORTS: Range<u16> = 20_000..32_000;

/// Where the next look begins. Another process of tests begins elsewhere.
static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| Mutex::new(fastrand::u16(PORTS)));

/// A port of 127.0.0.1 that nobody has, and that this process gives to nobody else before it has gone
/// through all of them.
pub fn free_port() -> u16 {
    let mut next = NEXT.lock().expect("nobody panics here");
    for _ in PORTS {
        let port = *next;
        *next = if port + 1 < PORTS.end { port + 1 } else { PORTS.start };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("every port of {PORTS:?} is taken");
}
