//! A connection of the HTTP listener, fed with bytes: it always comes to an end, whoever is answered is
//! answered in HTTP, and nothing of it stays behind. The main thread and its database are played here.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::Utc;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::http_answers;
use crate::credentials::{self, Accepted};
use crate::exchange::Secret;
use crate::front_door::address::TrustedProxies;
use crate::front_door::figures::Figures;
use crate::front_door::hall::{Hall, Rules};
use crate::front_door::health::Health;
use crate::front_door::http::serve;
use crate::front_door::queue::{Answer, Post, Question};
use crate::front_door::statuses::Refusal;
use crate::intake::Outcome;
use crate::settings::FrontDoorLimits;
use crate::webhook::Body;

/// The only tenant, and its secret.
const INSTANCE: &str = "loja-demo";
const SECRET: &str = "the-right-SECRET-4711";

/// What a connection holds on its way.
const BUFFER: usize = 16 * 1_024;

/// A byte that stands for a large piece of a body, so that small inputs can be long.
const PIECE: u8 = 0xFF;
const PIECE_BYTES: usize = 8 * 1_024;
const MOST_PIECES: usize = 12;

/// Packets are so many bytes long, or several times as many.
const PACKET_BYTES: usize = 8;

/// So often nothing may happen before the connection counts as one that hangs.
const MOST_IDLE_ROUNDS: usize = 50;

/// How one connection goes, by the bits of an input's first byte. The second is the size of the client's
/// packets (0: all in one); the rest is what it sends.
struct Visit {
    takes_large_bodies: bool,
    peer: IpAddr,
    database: Database,
    is_known: bool,
    listener_closes: bool,
    has_pieces: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Database {
    Stores,
    IsDown,
    /// The main thread has gone.
    IsGone,
}

impl Visit {
    fn of(bits: u8) -> Self {
        let is = |bit: u32| bits >> bit & 1 == 1;
        Self {
            takes_large_bodies: is(0),
            peer: if is(1) { [127, 0, 0, 1].into() } else { [192, 0, 2, 7].into() },
            database: match bits >> 2 & 3 {
                0 | 1 => Database::Stores,
                2 => Database::IsDown,
                _ => Database::IsGone,
            },
            is_known: is(4),
            listener_closes: is(5),
            has_pieces: is(6) && is(7),
        }
    }

    fn hall(&self) -> Arc<Hall> {
        let limits = FrontDoorLimits {
            max_body: if self.takes_large_bodies { 150 * 1_024 } else { 1_024 },
            max_clients: 10,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            refused_per_minute: 2,
        };
        let metrics_token = Some(Secret::new(SECRET));
        let rules = Rules { limits, trusted: TrustedProxies::default(), metrics_token };
        let hall = Hall::new(rules).expect("a hall");
        if self.is_known {
            let fingerprint = hall.standing.fingerprint(Some(SECRET), None);
            hall.standing.remember(INSTANCE, &accepted(), fingerprint);
        }
        Arc::new(hall)
    }
}

pub fn check(input: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime =
            Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let [bits, packet, sent @ ..] = input else { return };
    let visit = Visit::of(*bits);
    let sent = if visit.has_pieces { with_pieces(sent) } else { sent.to_vec() };
    let packet = if *packet == 0 { sent.len().max(1) } else { PACKET_BYTES * usize::from(*packet) };
    RUNTIME.with(|runtime| {
        let _inside = runtime.enter();
        let hall = visit.hall();
        let rooms = [&hall.known_bodies, &hall.strangers_bodies].map(|one| one.available_permits());
        let (answers, stored) = run(&visit, &hall, &sent, packet);
        let taken = http_answers::check(&answers, SECRET);
        assert!(taken <= stored, "{taken} were told that they are stored, and {stored} are");
        assert_eq!((hall.connections.count(), hall.queue.length()), (0, 0), "all have left");
        let now = [&hall.known_bodies, &hall.strangers_bodies].map(|one| one.available_permits());
        assert_eq!(rooms, now, "all memory is given back");
    });
}

fn with_pieces(sent: &[u8]) -> Vec<u8> {
    let (mut all, mut pieces) = (Vec::with_capacity(sent.len()), 0);
    for byte in sent {
        if *byte == PIECE && pieces < MOST_PIECES {
            all.resize(all.len() + PIECE_BYTES, b' ');
            pieces += 1;
        } else {
            all.push(*byte);
        }
    }
    all
}

/// All that the client hears, and how many posts the database took.
fn run(visit: &Visit, hall: &Arc<Hall>, sent: &[u8], packet: usize) -> (Vec<u8>, usize) {
    let (client, server) = duplex(BUFFER);
    let closing = watch::Sender::new(false);
    let place = hall.connections.admit(10).expect("a place");
    let served = serve(server, visit.peer, place, Arc::clone(hall), closing.subscribe());
    let mut served = pin!(served);
    let mut client = Client { stream: client, unsent: sent.to_vec(), at: 0, heard: Vec::new() };
    let mut context = Context::from_waker(Waker::noop());
    let (mut stored, mut idle) = (0, 0);
    loop {
        let mut moved = client.sends(packet, &mut context);
        let has_ended = served.as_mut().poll(&mut context).is_ready();
        if visit.listener_closes {
            closing.send_replace(true);
        }
        let done = main_thread(visit, hall);
        stored += done.stored;
        moved |= done.anything | client.hears(&mut context);
        if has_ended {
            break;
        }
        idle = if moved { 0 } else { idle + 1 };
        assert!(idle < MOST_IDLE_ROUNDS, "the connection hangs");
    }
    client.hears(&mut context);
    (client.heard, stored)
}

struct Client {
    stream: DuplexStream,
    unsent: Vec<u8>,
    at: usize,
    heard: Vec<u8>,
}

impl Client {
    /// Whether anything went out. After the last byte nothing more comes.
    fn sends(&mut self, packet: usize, context: &mut Context<'_>) -> bool {
        let end = self.unsent.len().min(self.at.saturating_add(packet));
        if self.at == end {
            let _ = Pin::new(&mut self.stream).poll_shutdown(context);
            return false;
        }
        match Pin::new(&mut self.stream).poll_write(context, &self.unsent[self.at..end]) {
            Poll::Ready(Ok(written)) => self.at += written,
            // Nobody listens any more.
            Poll::Ready(Err(_)) => self.at = self.unsent.len(),
            Poll::Pending => return false,
        }
        true
    }

    fn hears(&mut self, context: &mut Context<'_>) -> bool {
        let before = self.heard.len();
        loop {
            let mut bytes = [0; 4_096];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            match read {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.heard.extend_from_slice(buffer.filled());
                }
                _ => return self.heard.len() > before,
            }
        }
    }
}

struct Done {
    anything: bool,
    stored: usize,
}

fn main_thread(visit: &Visit, hall: &Hall) -> Done {
    let (posts, questions) = (hall.queue.take(10, usize::MAX), hall.queue.questions());
    let turned_away = hall.queue.turned_away();
    let mut done = Done { anything: false, stored: 0 };
    done.anything = !(posts.is_empty() && questions.is_empty() && turned_away.is_empty());
    for Post { payload, ticket } in posts {
        let answer = match visit.database {
            Database::Stores => store(hall, &payload, &ticket),
            Database::IsDown => Err(Refusal::unavailable("the database cannot take it now")),
            Database::IsGone => continue,
        };
        done.stored += usize::from(answer.is_ok());
        let _ = ticket.answer.send(answer);
    }
    for question in questions.into_iter().filter(|_| visit.database != Database::IsGone) {
        let _ = match question {
            Question::Health(answer) => answer.send(Health::Well).is_ok(),
            Question::Figures(answer) => answer.send(Figures).is_ok(),
        };
    }
    done
}

/// As `src/front_door/batches.rs` decides.
fn store(
    hall: &Hall,
    payload: &crate::webhook::Payload,
    ticket: &crate::front_door::queue::Ticket,
) -> Answer {
    let instance = payload.envelope.instance.as_str();
    if instance != INSTANCE {
        return Err(Refusal::UnknownInstance);
    }
    let accepted = accepted();
    if let Err(because) = credentials::check(&ticket.presented, &accepted, true, Utc::now()) {
        hall.standing.learn(instance, &accepted);
        return Err(Refusal::Credentials(because));
    }
    if !ticket.is_known {
        hall.standing.remember(instance, &accepted, ticket.fingerprint);
    }
    let message = match &payload.body {
        Body::Message(message) => Some(message),
        _ => None,
    };
    Ok(Outcome {
        action: payload.envelope.event.clone(),
        duplicate: false,
        chat_id: message.map(|message| message.jid.as_str().to_owned()),
        message_id: message.map(|message| message.id.clone()),
        reply_id: message.and_then(|message| message.sent_at),
    })
}

fn accepted() -> Accepted {
    Accepted { secret: Some(Secret::new(SECRET)), ..Accepted::default() }
}
