//! The HTTP server under every fake: one async function from a request to an answer, where an answer
//! may also be late, cut or never come. It listens on 127.0.0.1, unless told another address, and
//! never opens a connection.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinHandle, JoinSet};

use crate::wait::lock;

/// Fakes wait far more than they work.
const THREADS_PER_SERVER: usize = 2;

/// A request as it came, complete with its body.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Without the query, still percent-encoded.
    pub path: String,
    /// Still percent-encoded; empty without one.
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: DateTime<Utc>,
}

impl Request {
    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A value of the query, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()?;
        let value = value.replace('+', " ");
        Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
    }

    /// The path's parts, percent-decoded.
    pub fn segments(&self) -> Vec<String> {
        let parts = self.path.split('/').filter(|part| !part.is_empty());
        parts.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
    }
}

/// How far an answer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    CutMidBody,
    CutBeforeAnswer,
    Never,
}

/// What a fake does with a request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    ending: Ending,
}

impl Answer {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json; charset=utf-8", body.to_string())
    }

    pub fn text(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), ending: Ending::Whole }
    }

    /// The connection closes without a byte.
    pub fn cut() -> Self {
        Self { ending: Ending::CutBeforeAnswer, ..Self::text(200, "", "") }
    }

    /// The connection stays open and silent until the client goes.
    pub fn never() -> Self {
        Self { ending: Ending::Never, ..Self::text(200, "", "") }
    }

    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Status, headers and half the promised body, then the connection closes.
    pub fn cut_mid_body(mut self) -> Self {
        self.ending = Ending::CutMidBody;
        self
    }

    pub(crate) fn is_never(&self) -> bool {
        self.ending == Ending::Never
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    async fn into_response(self) -> io::Result<hyper::Response<AnswerBody>> {
        match self.ending {
            Ending::CutBeforeAnswer => return Err(io::Error::other("the fake cuts the line")),
            Ending::Never => pending().await,
            Ending::Whole | Ending::CutMidBody => {}
        }
        let mut response = hyper::Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        let cut = self.ending == Ending::CutMidBody;
        response.body(AnswerBody::new(self.body, cut)).map_err(io::Error::other)
    }
}

/// A body that promises all its bytes and may break off in the middle.
struct AnswerBody {
    promised: u64,
    bytes: Option<Bytes>,
    cut: bool,
    flushed: bool,
}

impl AnswerBody {
    fn new(body: Vec<u8>, cut: bool) -> Self {
        let promised = body.len() as u64;
        let mut bytes = Bytes::from(body);
        if cut {
            bytes.truncate(bytes.len() / 2);
        }
        Self { promised, bytes: Some(bytes), cut, flushed: false }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.cut {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // hyper writes out what it has only when the body makes it wait.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("the fake cuts the line"))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}

type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Handler = dyn Fn(Request) -> AnswerFuture + Send + Sync;

/// A listening server with its own hidden runtime. Dropping it closes every connection at once.
pub struct HttpServer {
    address: SocketAddr,
    handler: Arc<Handler>,
    listening: Mutex<Option<JoinHandle<()>>>,
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// On a free port of 127.0.0.1.
    pub fn start<F>(handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), handler)
    }

    #[track_caller]
    pub fn start_on<F>(
        address: SocketAddr,
        handler: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS_PER_SERVER)
            .enable_all()
            .build()
            .expect("a fake needs a runtime");
        let listener = TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let server = Self {
            address: listener.local_addr().expect("a bound listener has an address"),
            handler: Arc::new(move |request| Box::pin(handler(request))),
            listening: Mutex::default(),
            runtime: Some(runtime),
        };
        server.listen(listener);
        server
    }

    /// `http://<address>:<port>`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From here on connections are refused, and those that are open are closed.
    pub fn go_down(&self) {
        let listening = lock(&self.listening).take();
        if let Some(listening) = listening {
            listening.abort();
            // Cancelled is what it should be; what matters is that the socket is closed by now.
            let _ = self.runtime().block_on(listening);
        }
    }

    /// Listens again, on the same port.
    pub fn come_back(&self) {
        self.go_down();
        self.listen(TcpListener::bind(self.address).expect("the port that was ours"));
    }

    pub(crate) fn runtime(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime lives as long as the server").handle()
    }

    fn listen(&self, listener: TcpListener) {
        let accepting = accept_all(listener, Arc::clone(&self.handler));
        *lock(&self.listening) = Some(self.runtime().spawn(accepting));
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs until it is aborted; the connections end with it.
async fn accept_all(listener: TcpListener, handler: Arc<Handler>) {
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is running");
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Without this, small answers wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let handler = Arc::clone(&handler);
        connections.spawn(async move {
            let service = service_fn(move |incoming| serve(incoming, Arc::clone(&handler)));
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new());
            // An error here is a client that went away, or a cut that was ordered.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    incoming: hyper::Request<Incoming>,
    handler: Arc<Handler>,
) -> io::Result<hyper::Response<AnswerBody>> {
    let (head, body) = incoming.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec(),
        at: Utc::now(),
    };
    // A task of its own: the real ones finish what they began when their client has gone, too.
    let answer = tokio::spawn(handler(request)).await.map_err(io::Error::other)?;
    answer.into_response().await
}

/// Lets `duration` pass inside a fake: for what is slow by design, never for waiting on a condition.
pub(crate) async fn let_pass(duration: Duration) {
    let _: Result<Infallible, _> = tokio::time::timeout(duration, pending()).await;
}
