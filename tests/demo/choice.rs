//! What the environment chooses: which model answers, and whether the WhatsApp number is a fake or
//! somebody's own. It reads names and addresses; keys of models it never reads.

use std::env;
use std::net::SocketAddr;

use ureq::http::Uri;

use crate::ending::Ending;

const DEFAULT_LISTEN: &str = "127.0.0.1:8480";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenModel {
    /// llama.cpp on this machine: no key, no account.
    Local,
    /// The key is in the environment, which the server inherits: whaply reads it by `env:`.
    Anthropic,
    OpenAi,
}

/// An instance of a real Evolution API.
#[derive(Clone, Debug)]
pub struct RealLine {
    pub evolution_url: String,
    pub evolution_key: String,
    pub instance: String,
    /// Where the webhook is taken; Evolution must be able to reach it.
    pub listen: SocketAddr,
    /// An array of PostgreSQL: the only chats that get answers. None: all.
    pub only_chats: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Line {
    Fake,
    Real(RealLine),
}

#[derive(Clone, Debug)]
pub struct Choice {
    pub model: ChosenModel,
    pub line: Line,
}

impl Choice {
    pub fn from_environment() -> Result<Self, Ending> {
        let model = match (variable("ANTHROPIC_API_KEY"), variable("OPENAI_API_KEY")) {
            (Some(_), _) => ChosenModel::Anthropic,
            (None, Some(_)) => ChosenModel::OpenAi,
            (None, None) => ChosenModel::Local,
        };
        Ok(Self { model, line: line()? })
    }

    /// This machine's own, where the model is and the fake Evolution, and where a real one is.
    pub fn private_addresses(&self) -> String {
        match &self.line {
            Line::Fake => "127.0.0.1".to_owned(),
            Line::Real(line) => match line.evolution_url.parse::<Uri>() {
                Ok(url) if url.host().is_some() => {
                    format!("127.0.0.1, {}", url.host().unwrap_or_default())
                }
                // It is told as wrong where it is used.
                _ => "127.0.0.1".to_owned(),
            },
        }
    }
}

fn line() -> Result<Line, Ending> {
    let names = ["EVOLUTION_URL", "EVOLUTION_KEY", "EVOLUTION_INSTANCE"];
    match names.map(variable) {
        [None, None, None] => Ok(Line::Fake),
        [Some(evolution_url), Some(evolution_key), Some(instance)] => {
            let only_chats = variable("WHAPLY_DEMO_CHATS").map(|chats| format!("{{{chats}}}"));
            let listen = listen()?;
            Ok(Line::Real(RealLine { evolution_url, evolution_key, instance, listen, only_chats }))
        }
        given => {
            let missing = names.iter().zip(given).filter(|(_, value)| value.is_none());
            let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
            Err(Ending::failed(format!(
                "your own number needs {}; missing: {}",
                names.join(", "),
                missing.join(", ")
            )))
        }
    }
}

fn listen() -> Result<SocketAddr, Ending> {
    let text = variable("WHAPLY_DEMO_LISTEN").unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let complaint = || format!("WHAPLY_DEMO_LISTEN={text} is no address such as {DEFAULT_LISTEN}");
    text.parse().map_err(|_| Ending::Failed(complaint()))
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
