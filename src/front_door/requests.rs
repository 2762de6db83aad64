//! One request, from its headers to its answer: what can be refused without the database is refused
//! here, the rest goes to the main thread, which answers when it is stored.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderName};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::address;
use super::answers::{self, HttpAnswer};
use super::body::{self, Text, Unread};
use super::connections::{Connection, Stage};
use super::hall::{Hall, Rules};
use super::health::Health;
use super::queue::{Post, Question, Ticket, TurnedAway};
use super::reading::NoTurn;
use super::routes::{Route, route};
use super::statuses::Refusal;
use crate::credentials::Presented;
use crate::webhook;

/// Evolution waits 30 s for an answer. What is stored after this is a duplicate when it is repeated.
const PATIENCE: Duration = Duration::from_secs(25);

/// A load balancer does not wait long.
const PATIENCE_FOR_HEALTH: Duration = Duration::from_secs(5);

const X_WHAPLY_SECRET: HeaderName = HeaderName::from_static("x-whaply-secret");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A proxy in front adds one of these.
const FORWARDED: [HeaderName; 3] =
    [X_FORWARDED_FOR, HeaderName::from_static("forwarded"), HeaderName::from_static("x-real-ip")];

/// Answers one request. `connection` learns how far it is.
pub async fn answer(
    hall: &Hall,
    connection: &Connection,
    peer: IpAddr,
    request: Request<Incoming>,
) -> HttpAnswer {
    let answer = match route(request.method().as_str(), request.uri().path()) {
        Route::Webhook { instance } => {
            let visitor = Visitor::of(hall, peer, request.headers());
            let answer = visitor.post(connection, request, instance).await;
            visitor.answer(answer)
        }
        Route::Health => healthz(hall, connection).await,
        Route::Metrics => metrics(hall, connection, peer, request.headers()).await,
        Route::NotFound => answers::and_close(answers::not_found()),
        Route::WrongMethod { allowed } => answers::and_close(answers::wrong_method(allowed)),
    };
    hall.metrics.answered(answer.status().as_u16());
    answer
}

/// Who posts, as far as the headers tell.
struct Visitor<'a> {
    hall: &'a Hall,
    rules: Arc<Rules>,
    address: IpAddr,
    presented: Presented,
    fingerprint: u64,
    /// Just these credentials were right of late, whosever they are.
    is_known: bool,
}

/// Why a post is not taken, and whether the rest of its connection can still be read.
struct Turned {
    refusal: Refusal,
    is_unread: bool,
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, is_unread: false }
    }
}

impl<'a> Visitor<'a> {
    fn of(hall: &'a Hall, peer: IpAddr, headers: &HeaderMap) -> Self {
        let rules = hall.rules();
        let forwarded: Vec<&str> =
            headers.get_all(X_FORWARDED_FOR).iter().filter_map(|one| one.to_str().ok()).collect();
        let (secret, authorization) =
            (text(headers, &X_WHAPLY_SECRET), text(headers, &AUTHORIZATION));
        let fingerprint = hall.standing.fingerprint(secret, authorization);
        Self {
            hall,
            address: address::client(peer, &forwarded, &rules.trusted),
            rules,
            presented: Presented::from_headers(secret, authorization),
            fingerprint,
            is_known: hall.standing.knows(fingerprint),
        }
    }

    async fn post(
        &self,
        connection: &Connection,
        request: Request<Incoming>,
        named: Option<String>,
    ) -> Result<HttpAnswer, Turned> {
        self.check_head(&request, named.as_deref())?;
        connection.enter_body(self.is_known.then_some(self.fingerprint));
        let text = self.read_body(request.into_body(), named.as_deref()).await?;
        let arrived_at = Instant::now();
        let payload = self.read_payload(&text, named.as_deref()).await?;
        connection.enter(Stage::Working);
        let instance = payload.envelope.instance.as_str();
        let is_known = self.hall.standing.is_right(instance, &self.presented, Utc::now());
        if !is_known && self.is_not_heard(instance) {
            return Err(Refusal::TooManyRefused.into());
        }
        let (most, bytes) = (self.rules.limits.max_clients, text.bytes.len());
        let place = self.hall.queue.place(is_known.then_some(instance), bytes, most);
        let place = place.ok_or_else(|| Refusal::unavailable("too many webhooks are waiting"))?;
        let (answer, outcome) = oneshot::channel();
        let ticket = Ticket {
            presented: self.presented.clone(),
            fingerprint: self.fingerprint,
            is_known,
            place,
            arrived_at,
            answer,
        };
        // The memory is the payload's from here on, and counted by the queue.
        drop(text);
        self.hall.queue.offer(Post { payload, ticket })?;
        let silent = || Refusal::unavailable("the database does not answer");
        let outcome = timeout(PATIENCE, outcome).await.map_err(|_| silent())?;
        let outcome = outcome.map_err(|_| silent())??;
        Ok(answers::of_outcome(&outcome))
    }

    /// What can be told before the body has come.
    fn check_head(&self, request: &Request<Incoming>, named: Option<&str>) -> Result<(), Turned> {
        let turned = |refusal| Err(Turned { refusal, is_unread: true });
        // If the path does not tell whose it is, the body does.
        if !self.is_known && named.is_some_and(|named| self.is_not_heard(named)) {
            return turned(Refusal::TooManyRefused);
        }
        match text(request.headers(), &CONTENT_ENCODING) {
            None => Ok(()),
            Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(()),
            Some(_) => turned(Refusal::Invalid {
                message: "the body is compressed".to_owned(),
                hint: Some("Evolution API posts plain JSON.".to_owned()),
            }),
        }
    }

    /// Whether the address was refused too often to ask the database once more what is known to be
    /// wrong. Whose credentials nobody has seen yet is heard: the gateway of many is one address.
    fn is_not_heard(&self, instance: &str) -> bool {
        let most = self.rules.limits.refused_per_minute;
        self.hall.was_refused_too_often(self.address, most)
            && self.hall.standing.is_wrong(instance, &self.presented, Utc::now())
    }

    async fn read_body(&self, body: Incoming, named: Option<&str>) -> Result<Text, Turned> {
        let hall = self.hall;
        let pool = if self.is_known { &hall.known_bodies } else { &hall.strangers_bodies };
        let unread = match body::read(body, self.rules.limits.max_body, pool).await {
            Ok(text) => return Ok(text),
            Err(unread) => unread,
        };
        let refusal = match unread {
            Unread::TooLarge { instance } => {
                let instance = named.map(str::to_owned).or(instance);
                self.turn_away(instance, &Refusal::TooLarge);
                Refusal::TooLarge
            }
            Unread::NoRoom => Refusal::unavailable("too many large webhooks are being read"),
            // On the way, perhaps: the next attempt may be whole.
            Unread::Broken => Refusal::unavailable("the body broke off"),
        };
        Err(Turned { refusal, is_unread: true })
    }

    async fn read_payload(
        &self,
        text: &Text,
        named: Option<&str>,
    ) -> Result<webhook::Payload, Turned> {
        // What is no UTF-8 is repaired as what is no Unicode in JSON's escapes is.
        let read = || webhook::read(&String::from_utf8_lossy(&text.bytes));
        // A token is new with each event: the beginning tells whose it is.
        let is_known = self.is_known
            || text.memory.is_some()
                && body::instance_named(&text.bytes).is_some_and(|instance| {
                    self.hall.standing.is_right(&instance, &self.presented, Utc::now())
                });
        let turn = self.hall.reading_room.read(&text.bytes, is_known, read).await;
        let payload = match turn {
            Ok(payload) => payload.map_err(|refusal| Refusal::Invalid {
                hint: Some(refusal.hint().to_owned()),
                message: refusal.to_string(),
            }),
            Err(NoTurn::TooManyParts) => Err(Refusal::Invalid {
                message: "the webhook has too many parts to be read".to_owned(),
                hint: None,
            }),
            Err(NoTurn::TooLate) => {
                return Err(Refusal::unavailable("too many large webhooks are being read").into());
            }
        };
        let payload = payload.and_then(|payload| {
            if named.is_none_or(|named| named == payload.envelope.instance) {
                return Ok(payload);
            }
            Err(Refusal::Invalid {
                message: "the path names another instance than the body".to_owned(),
                hint: Some(
                    "Enter the URL in Evolution without the name of an instance.".to_owned(),
                ),
            })
        });
        payload.map_err(|refusal| {
            self.turn_away(named.map(str::to_owned), &refusal);
            refusal.into()
        })
    }

    /// Has the main thread count what it does not see.
    fn turn_away(&self, instance: Option<String>, refusal: &Refusal) {
        self.hall.queue.tell(TurnedAway {
            instance,
            presented: self.presented.clone(),
            is_too_large: *refusal == Refusal::TooLarge,
        });
    }

    fn answer(&self, answer: Result<HttpAnswer, Turned>) -> HttpAnswer {
        let turned = match answer {
            Ok(answer) => return answer,
            Err(turned) => turned,
        };
        self.hall.metrics.refused(turned.refusal.label());
        let is_strangers_fault = matches!(turned.refusal.status(), 400 | 401 | 404);
        if is_strangers_fault && !self.is_known {
            self.hall.note_refused(self.address);
        }
        let answer = answers::of_refusal(&turned.refusal);
        if turned.is_unread { answers::and_close(answer) } else { answer }
    }
}

async fn healthz(hall: &Hall, connection: &Connection) -> HttpAnswer {
    connection.enter(Stage::Asking);
    let (answer, health) = oneshot::channel();
    hall.queue.ask(Question::Health(answer));
    let health = timeout(PATIENCE_FOR_HEALTH, health).await.ok().and_then(Result::ok);
    let health = health.unwrap_or_else(|| Health::unwell("the database does not answer"));
    answers::of_health(&health)
}

async fn metrics(
    hall: &Hall,
    connection: &Connection,
    peer: IpAddr,
    headers: &HeaderMap,
) -> HttpAnswer {
    let is_own_machine = peer.to_canonical().is_loopback()
        && !FORWARDED.iter().any(|name| headers.contains_key(name));
    let bearer = text(headers, &AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if !is_own_machine && !hall.rules().is_metrics_token(bearer) {
        return answers::forbidden();
    }
    connection.enter(Stage::Asking);
    let (answer, figures) = oneshot::channel();
    hall.queue.ask(Question::Figures(answer));
    let figures = timeout(PATIENCE_FOR_HEALTH, figures).await.ok().and_then(Result::ok);
    match hall.metrics.text(hall.queue.length(), hall.connections.count(), figures) {
        Ok(text) => answers::of_metrics(text),
        Err(_) => answers::of_refusal(&Refusal::unavailable("the metrics could not be written")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
