//! From a tenant to a linked number: looks for the instance, makes it if there is none, sets and
//! checks its webhook, asks for a QR code. Each run begins at the beginning and finds done what was
//! done before, so that it may break off anywhere. It makes no call itself: the caller does.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::Value;

use super::error::{ErrorBody, REDIRECTS, answered};
use super::instances::{self, Connecting};
use super::qr_code::QrCode;
use super::webhook::{self, Webhook};
use super::{Instance, State, connection_state};
use crate::exchange::{CallError, CallResult, HttpRequest, Secret};

/// What is to be there in the end.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// With the tenant's own key, if it has one.
    pub instance: Instance,
    /// Evolution's global key, or what is wrong with the setting that names its source.
    pub global_key: Result<Option<Secret>, String>,
    pub webhook: Webhook,
    /// Of each call.
    pub timeout: Duration,
}

/// What one run has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUp {
    /// The instance's key, for a tenant that had none; told whatever came after it.
    pub token: Option<Secret>,
    pub line: Result<Line, Trouble>,
}

/// The webhook is set; how far the line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Open,
    /// A person must scan this.
    Scan(QrCode),
}

/// Why the number is not linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// One line, without keys, with what to do where somebody can do something.
    pub message: String,
    /// Another run may end better.
    pub may_pass: bool,
}

/// The most calls that one run makes.
pub const MOST_CALLS: u32 = 6;

/// One run. `call` makes a call and blocks until its end.
pub fn set_up(wanted: &Wanted, call: impl FnMut(&HttpRequest) -> CallResult) -> SetUp {
    let instance = wanted.instance.clone();
    let mut run = Run { wanted, call, instance, token: None };
    let line = run.all().map_err(|trouble| run.without_secrets(trouble));
    SetUp { token: run.token, line }
}

struct Run<'a, C> {
    wanted: &'a Wanted,
    call: C,
    /// With the key that is used from here on.
    instance: Instance,
    token: Option<Secret>,
}

/// A body of success, or that Evolution knows no such instance.
enum Answer {
    Body(Value),
    NoInstance,
}

impl<C: FnMut(&HttpRequest) -> CallResult> Run<'_, C> {
    fn all(&mut self) -> Result<Line, Trouble> {
        if self.instance.api_key.is_none() {
            self.instance.api_key = Some(self.global_key()?);
        }
        let is_open = match self.look()? {
            Some(state) => {
                self.learn_token()?;
                state == State::Open.as_str()
            }
            None => {
                self.create()?;
                false
            }
        };
        self.set_webhook()?;
        if is_open { Ok(Line::Open) } else { self.connect() }
    }

    /// The instance's state (empty: known, but not loaded), or None if there is no such instance.
    fn look(&mut self) -> Result<Option<String>, Trouble> {
        let request = connection_state(&self.instance, self.wanted.timeout);
        match self.ask("connectionState", &request)? {
            Answer::NoInstance => Ok(None),
            Answer::Body(body) => {
                Ok(Some(body["instance"]["state"].as_str().unwrap_or_default().to_owned()))
            }
        }
    }

    fn create(&mut self) -> Result<(), Trouble> {
        let own = self.wanted.instance.api_key.as_ref();
        // A tenant's own key may be the global one.
        let key = match (&self.wanted.global_key, own) {
            (Ok(Some(global)), _) => global.clone(),
            (_, Some(own)) => own.clone(),
            _ => self.global_key()?,
        };
        let token = own.filter(|own| **own != key);
        let creator = Instance { api_key: Some(key.clone()), ..self.instance.clone() };
        let request = instances::create(&creator, token, &self.wanted.webhook, self.wanted.timeout);
        let body = match self.ask("create", &request)? {
            Answer::Body(body) => body,
            Answer::NoInstance => return Err(lasting(no_evolution("create"))),
        };
        if own.is_some() {
            return Ok(());
        }
        match instances::created_token(&body) {
            Some(token) => {
                self.use_token(token);
                Ok(())
            }
            None => self.learn_token(),
        }
    }

    /// A tenant without a key of its own gets that of the instance.
    fn learn_token(&mut self) -> Result<(), Trouble> {
        if self.wanted.instance.api_key.is_some() {
            return Ok(());
        }
        let request = instances::fetch(&self.instance, self.wanted.timeout);
        let token = match self.ask("fetchInstances", &request)? {
            Answer::Body(body) => instances::fetched_token(&body, &self.instance.name),
            Answer::NoInstance => None,
        };
        let token = token.ok_or_else(|| {
            let why = "the instance is in Evolution already, and Evolution does not tell its token: \
                       enter it in tenants.evo_api_key, then connect_instance again";
            lasting(why.to_owned())
        })?;
        self.use_token(token);
        Ok(())
    }

    fn use_token(&mut self, token: Secret) {
        self.instance.api_key = Some(token.clone());
        self.token = Some(token);
    }

    fn set_webhook(&mut self) -> Result<(), Trouble> {
        let timeout = self.wanted.timeout;
        let request = webhook::set(&self.instance, &self.wanted.webhook, timeout);
        self.ask("webhook/set", &request)?;
        let request = webhook::find(&self.instance, timeout);
        let row = match self.ask("webhook/find", &request)? {
            Answer::Body(row) => row,
            Answer::NoInstance => Value::Null,
        };
        match self.wanted.webhook.difference(&row) {
            None => Ok(()),
            Some(what) => {
                Err(passing(format!("Evolution does not keep the webhook as it was set: {what}")))
            }
        }
    }

    fn connect(&mut self) -> Result<Line, Trouble> {
        let request = instances::connect(&self.instance, self.wanted.timeout);
        let body = match self.ask("connect", &request)? {
            Answer::Body(body) => body,
            Answer::NoInstance => Value::Null,
        };
        match instances::read_connect(&body) {
            Connecting::Open => Ok(Line::Open),
            Connecting::Scan(code) => Ok(Line::Scan(code)),
            Connecting::NoCodeYet => Err(passing(
                "Evolution has made no QR code yet; restart the instance if this stays".to_owned(),
            )),
            Connecting::Failed(words) => {
                Err(passing(answered("connect", 200, &self.masked(&words))))
            }
        }
    }

    fn global_key(&self) -> Result<Secret, Trouble> {
        let key = self.wanted.global_key.clone().map_err(lasting)?;
        key.ok_or_else(|| {
            let why = "the tenant has no evo_api_key, and the source that whaply.evolution_api_key names holds no \
                       global key of Evolution";
            lasting(why.to_owned())
        })
    }

    fn ask(&mut self, name: &str, request: &HttpRequest) -> Result<Answer, Trouble> {
        let response = (self.call)(request).map_err(|error| not_answered(name, &error))?;
        let status = response.status;
        if (200..300).contains(&status) {
            return match serde_json::from_slice(&response.body) {
                Ok(body) => Ok(Answer::Body(body)),
                Err(_) => Err(passing(no_evolution(name))),
            };
        }
        let error = ErrorBody::read(&response.body);
        // Before it is cut: of a key at the end a part would be left, which nobody recognises.
        let said = answered(name, status, &self.masked(error.words()));
        Err(match (status, &error) {
            (404, ErrorBody::Thrown(words)) if !words.starts_with("Cannot ") => {
                return Ok(Answer::NoInstance);
            }
            (404, _) => lasting(no_evolution(name)),
            (401, _) => lasting(format!("{said}; {}", self.whose_key(name))),
            // Somebody has made it since we looked, perhaps a run of before: the next one looks again.
            (403, ErrorBody::Thrown(words)) if words.contains("already in use") => passing(said),
            (403, _) => lasting(format!("{said}; {}", self.whose_key(name))),
            (300..400, _) => lasting(format!("{said}; {REDIRECTS}")),
            (400, ErrorBody::Invalid(_)) => lasting(said),
            _ => passing(said),
        })
    }

    fn whose_key(&self, name: &str) -> &'static str {
        let uses_own = self.wanted.instance.api_key.is_some();
        match (name, uses_own, &self.wanted.global_key) {
            ("create", true, Ok(Some(_))) | (_, false, _) => {
                "check the key in the source that whaply.evolution_api_key names: it must be Evolution's global key"
            }
            ("create", ..) => {
                "only Evolution's global key makes instances: name its source in whaply.evolution_api_key"
            }
            _ => {
                "the instance has another token: enter it in tenants.evo_api_key, or NULL to let the key of \
                 whaply.evolution_api_key ask for it"
            }
        }
    }

    fn without_secrets(&self, trouble: Trouble) -> Trouble {
        Trouble { message: self.masked(&trouble.message), ..trouble }
    }

    /// Servers like to repeat what they refuse.
    fn masked(&self, words: &str) -> String {
        let headers = self.wanted.webhook.headers.iter().map(|(_, value)| value);
        let keys = [&self.wanted.instance.api_key, &self.instance.api_key, &self.token];
        let global = self.wanted.global_key.iter().flatten();
        let secrets = headers.chain(keys.into_iter().flatten()).chain(global);
        let secrets = secrets.chain([&self.wanted.webhook.url]);
        secrets.fold(words.to_owned(), |words, secret| secret.mask(&words))
    }
}

fn not_answered(call: &str, error: &CallError) -> Trouble {
    let message = format!("{call} failed: {}", error.message());
    match error {
        CallError::Forbidden(_) => lasting(format!("{message}; check evo_server_url")),
        CallError::NotSent(_) | CallError::Unknown(_) | CallError::Withheld(_) => passing(message),
    }
}

fn lasting(message: String) -> Trouble {
    Trouble { message, may_pass: false }
}

fn passing(message: String) -> Trouble {
    Trouble { message, may_pass: true }
}

fn no_evolution(call: &str) -> String {
    format!("{call} was not answered as by Evolution: does evo_server_url lead to it?")
}
