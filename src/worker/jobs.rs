//! What a thread is asked to do, and what it reports: plain values, nothing of PostgreSQL. A job
//! carries its claim (id and attempt), so that its result is never written over a later one.

use std::time::{Duration, Instant};

use super::cooldowns::Account;
use super::places::Server;
use crate::conversation::prompt;
use crate::evolution::{self, FoundMessage, Instance, SendOutcome, SetUp, State, Trouble, Wanted};
use crate::exchange::HttpRequest;
use crate::llm::{self, Answer, Failure, FailureClass, Model, Prompt, Provider};
use crate::net::Caller;

/// A send that no thread has begun this long after its commit is given back as not started: who
/// knows what was decided in the meantime.
const STARTS_WITHIN: Duration = Duration::from_secs(1);

/// Pages of Evolution's store that one look reads at most.
const MOST_PAGES: u32 = 20;

/// A reply as it was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyClaim {
    pub reply_id: i64,
    pub attempt: i32,
    pub tenant_id: i32,
}

/// A delivery as it was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendClaim {
    pub delivery_id: i64,
    pub attempt: i32,
}

pub enum Job {
    Generate {
        claim: ReplyClaim,
        account: Account,
        model: Model,
        prompt: Prompt,
        timeout: Duration,
    },
    Send {
        claim: SendClaim,
        request: HttpRequest,
        committed_at: Instant,
    },
    LookUp {
        claim: SendClaim,
        instance: Instance,
        jids: Vec<String>,
        back_to: i64,
        timeout: Duration,
    },
    AskLine {
        tenant_id: i32,
        request: HttpRequest,
    },
    SetUp {
        request_id: i64,
        tenant_id: i32,
        wanted: Box<Wanted>,
    },
}

/// What became of a job.
pub enum Done {
    Generated {
        claim: ReplyClaim,
        account: Account,
        provider: Provider,
        result: Result<Answer, Failure>,
    },
    Sent {
        claim: SendClaim,
        outcome: SendOutcome,
    },
    NotStarted {
        claim: SendClaim,
    },
    LookedUp {
        claim: SendClaim,
        result: Result<Vec<FoundMessage>, String>,
    },
    Line {
        tenant_id: i32,
        result: Result<Option<State>, String>,
    },
    SetUp {
        request_id: i64,
        tenant_id: i32,
        set_up: SetUp,
    },
}

/// Enough of a job to report that it broke.
pub enum Identity {
    Generate(ReplyClaim, Account, Provider),
    Send(SendClaim),
    LookUp(SendClaim),
    AskLine(i32),
    SetUp(i64, i32),
}

impl Job {
    pub fn identity(&self) -> Identity {
        match self {
            Self::Generate { claim, account, model, .. } => {
                Identity::Generate(*claim, *account, model.provider)
            }
            Self::Send { claim, .. } => Identity::Send(*claim),
            Self::LookUp { claim, .. } => Identity::LookUp(*claim),
            Self::AskLine { tenant_id, .. } => Identity::AskLine(*tenant_id),
            Self::SetUp { request_id, tenant_id, .. } => Identity::SetUp(*request_id, *tenant_id),
        }
    }

    /// The server that it calls.
    pub fn server(&self) -> Server {
        Server::of(match self {
            Self::Generate { model, .. } => &model.base_url,
            Self::Send { request, .. } | Self::AskLine { request, .. } => &request.url,
            Self::LookUp { instance, .. } => &instance.base_url,
            Self::SetUp { wanted, .. } => &wanted.instance.base_url,
        })
    }

    /// Makes the call. Runs on a thread of the pool.
    pub fn run(self, caller: &Caller) -> Done {
        match self {
            Self::Generate { claim, account, model, prompt, timeout } => {
                let result = generate(caller, &model, &prompt, timeout);
                Done::Generated { claim, account, provider: model.provider, result }
            }
            Self::Send { claim, committed_at, .. } if committed_at.elapsed() > STARTS_WITHIN => {
                Done::NotStarted { claim }
            }
            Self::Send { claim, request, .. } => {
                Done::Sent { claim, outcome: evolution::read_send_text(caller.call(&request)) }
            }
            Self::LookUp { claim, instance, jids, back_to, timeout } => Done::LookedUp {
                claim,
                result: look_up(caller, &instance, &jids, back_to, timeout),
            },
            Self::AskLine { tenant_id, request } => Done::Line {
                tenant_id,
                result: evolution::read_connection_state(caller.call(&request)),
            },
            Self::SetUp { request_id, tenant_id, wanted } => {
                let set_up = evolution::set_up(&wanted, |request| caller.call(request));
                Done::SetUp { request_id, tenant_id, set_up }
            }
        }
    }
}

impl Identity {
    /// The system has no thread to give: nothing has left.
    pub fn never_began(self) -> Done {
        match self {
            Self::Send(claim) => Done::NotStarted { claim },
            other => other.broke(),
        }
    }

    /// A panic in a thread is a failure like any other: the job must not stay claimed for ever.
    pub fn broke(self) -> Done {
        const WHAT: &str = "the call broke inside whaply; please report it with the server's log";
        match self {
            Self::Generate(claim, account, provider) => {
                let failure = Failure {
                    class: FailureClass::Transient,
                    message: WHAT.to_owned(),
                    retry_after: None,
                };
                Done::Generated { claim, account, provider, result: Err(failure) }
            }
            Self::Send(claim) => {
                let uncertain = evolution::Uncertain { message: WHAT.to_owned(), hold: false };
                Done::Sent { claim, outcome: SendOutcome::Uncertain(uncertain) }
            }
            Self::LookUp(claim) => Done::LookedUp { claim, result: Err(WHAT.to_owned()) },
            Self::AskLine(tenant_id) => Done::Line { tenant_id, result: Err(WHAT.to_owned()) },
            Self::SetUp(request_id, tenant_id) => {
                let line = Err(Trouble { message: WHAT.to_owned(), may_pass: true });
                Done::SetUp { request_id, tenant_id, set_up: SetUp { token: None, line } }
            }
        }
    }
}

/// One answer. A history that is too long for the model is shortened, once.
fn generate(
    caller: &Caller,
    model: &Model,
    prompt: &Prompt,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let ask = |prompt: &Prompt| {
        llm::read_answer(model.provider, caller.call(&llm::request(model, prompt, timeout)))
    };
    match ask(prompt) {
        Err(failure) if failure.class == FailureClass::ContextTooLong => {
            match prompt::shorten(prompt) {
                Some(shorter) => ask(&shorter),
                None => Err(failure),
            }
        }
        answered => answered,
    }
}

/// Our own messages in a chat under all its names, newest first, back to a time (seconds since 1970).
fn look_up(
    caller: &Caller,
    instance: &Instance,
    jids: &[String],
    back_to: i64,
    timeout: Duration,
) -> Result<Vec<FoundMessage>, String> {
    let mut found = Vec::new();
    for jid in jids {
        for page in 1..=MOST_PAGES {
            let request = evolution::find_messages(instance, jid, page, timeout);
            let answer = evolution::read_found(caller.call(&request))?;
            let reached = answer
                .messages
                .iter()
                .any(|message| message.sent_at.is_some_and(|at| at < back_to));
            found.extend(answer.messages.into_iter().filter(|message| message.from_me));
            if reached || page >= answer.pages {
                break;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use url::Url;

    use super::*;
    use crate::exchange::Method;
    use crate::net::{Limits, Outgoing};

    const CLAIM: SendClaim = SendClaim { delivery_id: 7, attempt: 1 };

    /// A send to a server that answers nobody, committed so long ago.
    fn send(server: &TcpListener, ago: Duration) -> Job {
        let url = format!("http://{}/", server.local_addr().unwrap());
        let request = HttpRequest {
            method: Method::Post,
            url: Url::parse(&url).unwrap(),
            headers: Vec::new(),
            body: "{}".to_owned(),
            timeout: Duration::from_millis(200),
        };
        let committed_at = Instant::now().checked_sub(ago).unwrap();
        Job::Send { claim: CLAIM, request, committed_at }
    }

    /// The server is on this machine.
    fn caller() -> Caller {
        let reach = "127.0.0.1".parse().unwrap();
        Caller::new(&Limits::default(), Outgoing { reach, ..Outgoing::default() })
    }

    /// Whether anybody has connected.
    fn was_called(server: &TcpListener) -> bool {
        server.set_nonblocking(true).unwrap();
        server.accept().is_ok()
    }

    #[test]
    fn a_send_that_no_thread_began_in_time_calls_nobody() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let late = STARTS_WITHIN + Duration::from_millis(1);
        let done = send(&server, late).run(&caller());
        assert!(matches!(done, Done::NotStarted { claim: CLAIM }));
        assert!(!was_called(&server));
    }

    #[test]
    fn a_send_that_is_begun_in_time_is_made() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let done = send(&server, Duration::ZERO).run(&caller());
        assert!(matches!(done, Done::Sent { claim: CLAIM, outcome: SendOutcome::Uncertain(_) }));
        assert!(was_called(&server));
    }

    #[test]
    fn a_send_without_a_thread_is_given_back_and_one_that_broke_is_looked_for() {
        let identity = || Identity::Send(CLAIM);
        assert!(matches!(identity().never_began(), Done::NotStarted { claim: CLAIM }));
        let Done::Sent { outcome: SendOutcome::Uncertain(uncertain), .. } = identity().broke()
        else {
            panic!("nobody knows what became of it");
        };
        assert!(!uncertain.hold);
    }
}
