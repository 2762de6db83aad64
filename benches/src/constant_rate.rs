//! Load at a constant rate, whatever the answers: wrk cannot, and latency at its own pace hides the waits.
//! The time of a request runs from when it was meant to begin, so that none hides behind a slow one before.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::traffic::{Chat, Messages};

/// More than are ever busy unless the server is overrun; then the wait for one counts, too.
const CONNECTIONS: usize = 128;

/// Each message comes with the time at which it was meant to leave.
type Queue = Arc<Mutex<mpsc::UnboundedReceiver<(Instant, Request<Full<Bytes>>)>>>;

/// Posts the messages of a run, `per_second` of them, and returns the latency of each in milliseconds.
pub fn latencies(
    url: &str,
    chats: &[Chat],
    run: u16,
    per_second: u32,
    duration: Duration,
) -> Result<Vec<f64>> {
    let url: Uri = url.parse()?;
    let count = per_second * u32::try_from(duration.as_secs())?;
    let requests = requests(&url, chats, run, count)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(receiver));
        let connections = try_join_all((0..CONNECTIONS).map(|_| connect(&url))).await?;
        let posts =
            connections.into_iter().map(|one| tokio::spawn(post_all(one, Arc::clone(&queue))));
        let posts: Vec<_> = posts.collect();
        // A thread of its own, since timers of tokio are a millisecond wide.
        let pace = thread::spawn(move || {
            let interval = Duration::from_secs(1) / per_second;
            let mut meant_at = Instant::now();
            for request in requests {
                thread::sleep(meant_at.saturating_duration_since(Instant::now()));
                if sender.send((meant_at, request)).is_err() {
                    return;
                }
                meant_at += interval;
            }
        });
        let mut latencies = Vec::with_capacity(count as usize);
        for post in posts {
            latencies.extend(post.await??);
        }
        ensure!(pace.join().is_ok(), "the thread that paces the load failed");
        Ok(latencies)
    })
}

fn requests(url: &Uri, chats: &[Chat], run: u16, count: u32) -> Result<Vec<Request<Full<Bytes>>>> {
    let host = url.authority().context("a URL with a host")?.as_str();
    let mut messages = Messages::new(chats, run, 0);
    let requests = (0..count).map(|_| {
        let message = messages.next();
        let request = Request::post(url.path())
            .header("host", host)
            .header("content-type", "application/json")
            .header("x-whaply-secret", &message.chat.secret)
            .body(Full::new(Bytes::from(message.body())));
        Ok(request?)
    });
    requests.collect()
}

async fn connect(url: &Uri) -> Result<SendRequest<Full<Bytes>>> {
    let address = url.authority().context("a URL with a host")?.as_str();
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn post_all(mut connection: SendRequest<Full<Bytes>>, queue: Queue) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    loop {
        let next = queue.lock().await.recv().await;
        let Some((meant_at, request)) = next else { return Ok(latencies) };
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        if status != StatusCode::OK {
            bail!("a webhook was answered with {status}");
        }
        latencies.push(meant_at.elapsed().as_secs_f64() * 1e3);
    }
}
