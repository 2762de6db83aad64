//! The threads of the listener: they accept, read and answer, and touch nothing of PostgreSQL.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::answers;
use super::connections::{Connection, Place, Stage};
use super::hall::Hall;
use super::requests;
use super::statuses::Refusal;
use super::stopping;
use crate::process::with_signals_blocked;

/// Reading and parsing take half as long as storing, which one thread does for all. Further threads hand
/// connections to each other and take turns with the server's processes.
const CORES_OF_A_THREAD: usize = 2;
const MOST_THREADS: usize = 4;

const STACK_BYTES: usize = 1_024 * 1_024;

/// Connections that the system has accepted and this has not.
const BACKLOG: u32 = 1_024;

/// Headers of a request, all together.
const MOST_HEADER_BYTES: usize = 16 * 1_024;

/// What a connection may hold beside the body that was read.
const MOST_BUFFERED_BYTES: usize = 64 * 1_024;

/// How often slow clients are looked for.
const ROUND: Duration = Duration::from_millis(250);

/// After so many rounds the main thread should have left: five seconds.
const ROUNDS_TO_LEAVE: u32 = 20;

/// After a failed accept, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The threads, and the socket if one is open.
pub struct HttpSide {
    runtime: Runtime,
    hall: Arc<Hall>,
    accepting: Option<AbortHandle>,
    closing: watch::Sender<bool>,
}

impl HttpSide {
    /// Starts the threads; nothing listens yet.
    pub fn start(hall: Arc<Hall>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / CORES_OF_A_THREAD).clamp(1, MOST_THREADS);
        let runtime = with_signals_blocked(|| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_stack_size(STACK_BYTES)
                .thread_name("whaply http")
                .enable_io()
                .enable_time()
                .build()
        })?;
        runtime.spawn(watch_over(Arc::clone(&hall)));
        Ok(Self { runtime, hall, accepting: None, closing: watch::Sender::new(false) })
    }

    /// Listens at `address` in place of where it listened before; connections that are open stay.
    /// Returns the address with its port.
    pub fn open(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.close();
        let _inside = self.runtime.enter();
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let accepting = accept(listener, Arc::clone(&self.hall), self.closing.subscribe());
        self.accepting = Some(self.runtime.spawn(accepting).abort_handle());
        Ok(address)
    }

    /// Nobody new comes in.
    pub fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }

    /// Nobody new comes in, and who is in leaves with the answer it waits for.
    pub fn close_for_good(&mut self) {
        self.close();
        self.closing.send_replace(true);
        self.hall.connections.close_the_idle();
    }

    /// The threads end as soon as they can.
    pub fn end(self) {
        self.runtime.shutdown_background();
    }
}

async fn watch_over(hall: Arc<Hall>) {
    let mut rounds = tokio::time::interval(ROUND);
    let mut rounds_to_leave = ROUNDS_TO_LEAVE;
    loop {
        rounds.tick().await;
        if stopping::is_stopping() {
            rounds_to_leave = rounds_to_leave.saturating_sub(1);
            if rounds_to_leave == 0 {
                stopping::insist();
                rounds_to_leave = ROUNDS_TO_LEAVE;
            }
        }
        let slow = hall.connections.cut_off_the_slow(&hall.rules().limits);
        hall.metrics.cut_off(slow);
    }
}

async fn accept(listener: TcpListener, hall: Arc<Hall>, closing: watch::Receiver<bool>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(place) = hall.connections.admit(hall.rules().limits.max_clients) else {
            turn_away(&stream, &hall);
            continue;
        };
        // An error would only mean a delay.
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream, peer.ip(), place, Arc::clone(&hall), closing.clone()));
    }
}

/// Tells a client that there is no place for it, if its socket takes that at once.
fn turn_away(stream: &TcpStream, hall: &Hall) {
    const FULL: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
                          content-length: 0\r\n\r\n";
    let _ = stream.try_write(FULL);
    hall.metrics.answered(503);
    hall.metrics.refused("too_many_clients");
}

/// Answers what comes on one connection until either side ends it, or it is cut.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: IpAddr,
    place: Place,
    hall: Arc<Hall>,
    mut closing: watch::Receiver<bool>,
) {
    let connection = Arc::clone(&place.connection);
    let watched = Watched { stream: TokioIo::new(stream), connection: Arc::clone(&connection) };
    let service = service_fn(|request| {
        let (hall, connection) = (Arc::clone(&hall), Arc::clone(&connection));
        async move {
            let answer = requests::answer(&hall, &connection, peer, request);
            let answer = std::panic::AssertUnwindSafe(answer).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| broken());
            connection.enter(Stage::Idle);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    http.max_header_size(MOST_HEADER_BYTES).max_buf_size(MOST_BUFFERED_BYTES).half_close(true);
    let mut served = pin!(http.serve_connection(watched, service));
    tokio::select! {
        // An error is the client's.
        _ = served.as_mut() => return,
        () = place.connection.is_cut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    served.as_mut().graceful_shutdown();
    tokio::select! {
        _ = served => {}
        () = place.connection.is_cut() => {}
    }
}

/// A bug of ours costs one request.
fn broken() -> hyper::Response<Full<Bytes>> {
    answers::and_close(answers::of_refusal(&Refusal::unavailable("an internal error")))
}

/// A socket that tells its connection when bytes come.
struct Watched<S> {
    stream: TokioIo<S>,
    connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.connection.hears();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }
}
