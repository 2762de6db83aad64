//! A proxy as companies have one: it is asked by CONNECT and tunnels, wherever it was asked to go, to
//! the one address it was made for. It looks up no name.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::wait::Journal;

/// No request to a proxy is longer.
const LONGEST_HEAD: usize = 16 * 1024;

pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Journal<String>>,
    _runtime: Runtime,
}

impl Proxy {
    /// On a free port of 127.0.0.1, with tunnels to `target`.
    pub fn start_to(target: SocketAddr) -> Self {
        let runtime = Runtime::new().expect("a fake needs a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let asked = Arc::new(Journal::default());
        let journal = Arc::clone(&asked);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(tunnel(stream, target, Arc::clone(&journal)));
            }
        });
        Self { address, asked, _runtime: runtime }
    }

    /// `127.0.0.1:<port>`
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The head of each request so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.all()
    }
}

async fn tunnel(mut stream: TcpStream, target: SocketAddr, asked: Arc<Journal<String>>) {
    let mut head = Vec::new();
    // Byte by byte, so that nothing of what follows the head is taken.
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    asked.push(String::from_utf8_lossy(&head).into_owned());
    if let Ok(mut behind) = TcpStream::connect(target).await
        && stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_ok()
    {
        let _ = copy_bidirectional(&mut stream, &mut behind).await;
    }
}
