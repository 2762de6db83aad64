//! Requests of `connect_instance`: begun when they are due, each a few calls on one thread, and begun
//! again from the table after a failure, a restart, or a minute in which nobody scanned. What a run
//! has done the next one finds done, so that none is ever believed to have happened only once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::jobs::{Done, Job};
use super::keys;
use super::results::Recorded;
use super::terms::Terms;
use crate::conversation::retry;
use crate::error::Result;
use crate::evolution::{Line, MOST_CALLS, SetUp, State, Trouble, Wanted, Webhook};
use crate::intake::line::qr_is_fresh_for;
use crate::secrets::{self, Destination};
use crate::settings::{self, WorkerLimits};
use crate::store::connect_requests::{self, Claimed, Due};
use crate::store::tenants;

/// Runs at the same time: each holds a thread for seconds, and a thousand numbers may be set up at once.
const MOST_AT_ONCE: usize = 8;

/// Tries of one request that may fail in a row: one to three minutes, longer than Evolution restarts.
const MOST_TRIES: u32 = 6;

/// Evolution gives up by itself, and tells so by the webhook; this is for where the webhook fails.
const SCANNED_WITHIN: chrono::Duration = chrono::Duration::minutes(30);

const NOBODY_SCANNED: &str =
    "nobody scanned the QR code within 30 minutes: call connect_instance again";

const WEBHOOK_MISSED: &str = "Evolution shows another QR code, but its webhook did not bring it: can Evolution reach \
                              webhook_url?";

/// What a worker knows of the requests besides the table.
#[derive(Default)]
pub struct InstanceSetUps {
    /// Tenants for which a thread is at work, and until when that is believed: a request that took
    /// the place of another one waits for the end of its calls.
    busy: HashMap<i32, Instant>,
    next: Option<Instant>,
    /// What a worker of before was doing has been taken up.
    has_taken_over: bool,
}

impl InstanceSetUps {
    /// The runs that are due, at most `free`.
    pub fn begin_due(&mut self, free: usize, limits: &WorkerLimits) -> Result<Vec<Job>> {
        self.next = None;
        let now = Instant::now();
        self.busy.retain(|_, until| *until > now);
        let free = free.min(MOST_AT_ONCE.saturating_sub(self.busy.len()));
        // The end of a run is what wakes the worker.
        if free == 0 {
            return Ok(Vec::new());
        }
        if !self.has_taken_over {
            self.has_taken_over = true;
            connect_requests::all_due_now()?;
        }
        let many = i64::try_from(2 * MOST_AT_ONCE).unwrap_or(i64::MAX);
        let mut jobs = Vec::new();
        for request in connect_requests::open_ones(many)? {
            if self.busy.contains_key(&request.tenant_id) {
                continue;
            }
            let wait = (request.due_at - Utc::now()).to_std().unwrap_or_default();
            if wait.is_zero() && jobs.len() < free {
                jobs.extend(self.begin(request, limits)?);
            } else if !wait.is_zero() {
                let at = now + wait;
                self.next = Some(self.next.map_or(at, |next| next.min(at)));
            }
        }
        Ok(jobs)
    }

    /// When the next run is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.next
    }

    /// A thread reports: its tenant's next request may begin.
    pub fn heard(&mut self, fresh: &[Done]) {
        for done in fresh {
            if let Done::SetUp { tenant_id, .. } = done {
                self.busy.remove(tenant_id);
            }
        }
    }

    fn begin(&mut self, request: Due, limits: &WorkerLimits) -> Result<Option<Job>> {
        let longest = limits.send_timeout * (MOST_CALLS + 1);
        let lease = chrono::Duration::from_std(longest).unwrap_or(chrono::Duration::minutes(10));
        let Some(claimed) = connect_requests::claim(request.id, lease)? else { return Ok(None) };
        let wanted = match wanted(&claimed, limits.send_timeout) {
            Ok(wanted) => wanted,
            Err(error) => {
                connect_requests::fail(request.id, &error)?;
                return Ok(None);
            }
        };
        self.busy.insert(request.tenant_id, Instant::now() + longest);
        Ok(Some(Job::SetUp { request_id: request.id, tenant_id: request.tenant_id, wanted }))
    }
}

/// What Evolution is to be set to, or what a person must do first.
fn wanted(claimed: &Claimed, timeout: Duration) -> std::result::Result<Box<Wanted>, String> {
    if claimed.created_at + SCANNED_WITHIN < Utc::now() {
        return Err(NOBODY_SCANNED.to_owned());
    }
    if settings::require_secret()
        && claimed.webhook_secret.is_none()
        && claimed.webhook_jwt_key.is_none()
    {
        return Err(
            "the tenant has no webhook_secret, so that every webhook would be refused: set one"
                .to_owned(),
        );
    }
    let source = settings::evolution_key_source();
    let server = &claimed.evo_server_url;
    let instance = keys::instance(server, &claimed.instance_name, claimed.evo_api_key.as_ref())?;
    // They are sent there, as headers of the webhook.
    let there = Destination::Tenants(&instance.base_url);
    let secret = secrets::resolve_any("webhook_secret", claimed.webhook_secret.as_ref(), there)?;
    let jwt_key = secrets::resolve_any("webhook_jwt_key", claimed.webhook_jwt_key.as_ref(), there)?;
    let global_key = source
        .as_deref()
        .map_or(Ok(None), |source| secrets::of_setting_to(source, &instance.base_url));
    Ok(Box::new(Wanted {
        webhook: Webhook::new(&claimed.webhook_url, secret.as_ref(), jwt_key.as_ref()),
        instance,
        global_key,
        timeout,
    }))
}

/// Writes what a run has come to. What the webhook has told since counts more.
pub fn ended(
    request_id: i64,
    tenant_id: i32,
    set_up: &SetUp,
    terms: Terms<'_>,
) -> Result<Recorded> {
    // Of a request that another one has replaced, too: the instance is there.
    if let Some(token) = &set_up.token {
        connect_requests::keep_token(tenant_id, token)?;
    }
    if set_up.line == Ok(Line::Open) {
        tenants::set_connection_state(tenant_id, State::Open.as_str())?;
    }
    match connect_requests::try_lock(request_id)? {
        (false, _) => return Ok(Recorded::Done),
        (true, false) => return Ok(Recorded::Held),
        (true, true) => {}
    }
    match &set_up.line {
        Ok(Line::Open) => connect_requests::connected(request_id)?,
        Ok(Line::Scan(qr)) => {
            connect_requests::scan(request_id, qr, qr_is_fresh_for(), WEBHOOK_MISSED)?;
        }
        Err(trouble) => try_again(request_id, trouble, terms.limits)?,
    }
    Ok(Recorded::Done)
}

fn try_again(request_id: i64, trouble: &Trouble, limits: &WorkerLimits) -> Result<()> {
    let tries = connect_requests::failures(request_id)? + 1;
    if !trouble.may_pass {
        return connect_requests::fail(request_id, &trouble.message);
    }
    if tries >= MOST_TRIES {
        let message = &trouble.message;
        let error = format!(
            "{message}; given up after {tries} tries: mend it, then connect_instance again"
        );
        return connect_requests::fail(request_id, &error);
    }
    let wait = retry::backoff(limits.retry_delay, tries, fastrand::f64());
    let wait = chrono::Duration::from_std(wait).unwrap_or(chrono::Duration::minutes(1));
    connect_requests::postpone(request_id, &format!("{}; it is tried again", trouble.message), wait)
}
