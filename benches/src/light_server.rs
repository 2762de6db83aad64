//! A model server and a gateway in one, light enough that what is measured is whaply and not them:
//! one thread, one answer for everything, after a delay. It checks nothing and keeps only times.

use std::convert::Infallible;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A thousand clients may knock in the same millisecond; a connection that finds no place in the
/// queue is tried again by the kernel a whole second later.
const BACKLOG: u32 = 4096;

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `POST /v1/chat/completions`
    Model,
    /// Evolution's `POST /message/sendText/{instance}`
    Gateway,
}

#[derive(Default)]
struct Times {
    /// When the head of each request had been read.
    arrived: Mutex<Vec<Instant>>,
    /// When each answer was handed to the connection.
    answered: Mutex<Vec<Instant>>,
    ids: AtomicU64,
}

/// Runs until it is dropped.
pub struct LightServer {
    address: SocketAddr,
    times: Arc<Times>,
    _stop: oneshot::Sender<()>,
}

impl LightServer {
    /// Answers each request `delay` after it came.
    pub fn start(role: Role, delay: Duration) -> Self {
        let times = Arc::new(Times::default());
        let shared = Arc::clone(&times);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = listen();
                tell.send(listener.local_addr().expect("a bound address"))
                    .expect("the starter waits");
                tokio::select! {
                    () = accept_all(listener, role, delay, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: told.recv().expect("the server starts"), times, _stop: stop }
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When each request since the last [`Self::forget`] came.
    pub fn arrivals(&self) -> Vec<Instant> {
        lock(&self.times.arrived).clone()
    }

    /// When each answer since the last [`Self::forget`] went.
    pub fn answers(&self) -> Vec<Instant> {
        lock(&self.times.answered).clone()
    }

    pub fn forget(&self) {
        lock(&self.times.arrived).clear();
        lock(&self.times.answered).clear();
    }
}

fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    socket.listen(BACKLOG).expect("a listening socket")
}

async fn accept_all(listener: TcpListener, role: Role, delay: Duration, times: Arc<Times>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let times = Arc::clone(&times);
        tokio::spawn(async move {
            let service =
                service_fn(move |request| answer(request, role, delay, Arc::clone(&times)));
            // An error is a client that went away.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    role: Role,
    delay: Duration,
    times: Arc<Times>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    lock(&times.arrived).push(Instant::now());
    // The connection reads the rest of the request by itself before the next one.
    drop(request);
    if delay == Duration::MAX {
        pending::<()>().await;
    }
    tokio::time::sleep(delay).await;
    let id = times.ids.fetch_add(1, Ordering::Relaxed);
    let (status, body) = match role {
        Role::Model => (200, completion(id)),
        Role::Gateway => (201, sent(id)),
    };
    lock(&times.answered).push(Instant::now());
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from(body))).expect("a fixed status and header"))
}

fn completion(id: u64) -> String {
    json!({
        "id": format!("chatcmpl-{id}"),
        "object": "chat.completion",
        "model": "fake-model",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": "Sim, abrimos hoje das 9h às 18h. Até já!" },
            "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320 },
    })
    .to_string()
}

fn sent(id: u64) -> String {
    json!({
        "key": { "remoteJid": "", "fromMe": true, "id": format!("BENCH{id:016X}") },
        "status": "PENDING",
        "messageType": "conversation",
    })
    .to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
