//! A language model as whaply sees it: a prompt in, an answer or a classified failure out. Each
//! wire format has its own file. Pure: nothing here opens a socket or decides when to try again.

mod answer;
mod anthropic;
mod complaint;
mod dialogue;
mod failure;
mod openai;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use url::Url;

pub use answer::Answer;
pub use failure::{Failure, FailureClass};

use crate::exchange::{CallResult, HttpRequest, Method, Secret};

/// The wire format a model is spoken to in. `OpenAi` covers every server that offers Chat
/// Completions: OpenAI, Azure, Groq, OpenRouter, Ollama, vLLM, llama.cpp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    Anthropic,
    OpenAi,
}

impl Provider {
    pub const ALL: [Self; 2] = [Self::Anthropic, Self::OpenAi];

    /// The text stored in `tenants.llm_provider`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    /// Where the provider itself serves the format. OpenAI's includes the version, Anthropic's
    /// does not: both are what the vendors' own clients take.
    pub fn default_base_url(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenAi => "https://api.openai.com/v1",
        }
    }

    /// The model of a tenant that names none: the vendor's small one, since a chat wants its
    /// answer within seconds and a business answers the same questions all day.
    pub fn default_model(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-haiku-5-5",
            Self::OpenAi => "gpt-5.4-mini",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown LLM provider {0:?}: use 'anthropic' or 'openai'")]
pub struct UnknownProvider(pub String);

impl FromStr for Provider {
    type Err = UnknownProvider;

    /// Upper and lower case are the same.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    Customer,
    /// The owner, an operator or the assistant: to the model they are one voice.
    Business,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub speaker: Speaker,
    pub text: String,
}

/// What the model is to answer. `turns` are in the order of the chat and need not alternate, nor
/// start or end with the customer: the wire's rules are met in [`request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub system: String,
    pub turns: Vec<Turn>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub provider: Provider,
    /// As [`Provider::default_base_url`] is: with the version for OpenAI, with or without it for
    /// Anthropic. May carry a path prefix and a query.
    pub base_url: Url,
    pub name: String,
    /// Bounds the answer. Models that reason spend part of it before the first word.
    pub max_tokens: u32,
    /// None for a local server that asks for no key: then no header is sent.
    pub api_key: Option<Secret>,
}

/// The call that asks `model` to answer `prompt`. The answer is not streamed, and sampling is left
/// to the provider, whose newer models refuse to be told.
pub fn request(model: &Model, prompt: &Prompt, timeout: Duration) -> HttpRequest {
    let (url, mut headers, body) = match model.provider {
        Provider::Anthropic => anthropic::request(model, prompt),
        Provider::OpenAi => openai::request(model, prompt),
    };
    headers.push(("content-type", Secret::new("application/json")));
    HttpRequest { method: Method::Post, url, headers, body: body.to_string(), timeout }
}

/// What came of [`request`]. A text is never empty and holds no reasoning.
pub fn read_answer(provider: Provider, result: CallResult) -> Result<Answer, Failure> {
    let response = result.map_err(|error| Failure::no_answer(provider, &error))?;
    let body = serde_json::from_slice::<Value>(&response.body).ok();
    // OpenRouter reports an upstream's error with status 200.
    let is_error =
        body.as_ref().is_some_and(|body| body.get("error").is_some_and(|e| !e.is_null()));
    if !(200..300).contains(&response.status) || is_error {
        return Err(Failure::refusing_response(provider, &response));
    }
    let body = body.ok_or_else(|| Failure::malformed(provider))?;
    let answer = match provider {
        Provider::Anthropic => anthropic::read(&body),
        Provider::OpenAi => openai::read(&body),
    }?;
    if answer.text.is_empty() { Err(Failure::empty_answer(provider, &answer)) } else { Ok(answer) }
}

/// `base` with `segments` added to its path. A query stays: gateways ask for one.
fn endpoint(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_fragment(None);
    // Fails for URLs without a path, such as mailto:, which the network refuses.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}
