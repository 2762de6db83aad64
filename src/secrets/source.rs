//! Names of secrets: what a value names in place of the secret itself, and whether the operator lets
//! it be read, and sent where it would go. Pure: it reads no source.

#[cfg(test)]
mod tests;

use std::fmt;

use url::Url;

const ENV: &str = "env:";
const FILE: &str = "file:";
const VAULT: &str = "vault:";

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A variable of the server's environment.
    Env(String),
    /// An absolute path without `.` and `..`.
    File(String),
    /// A name in Supabase Vault.
    Vault(String),
}

/// Begins like a source, and names none. It may be a secret: it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where a secret goes when it has been read.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// It is compared with what arrives, and leaves nobody.
    Nowhere,
    /// A server that the operator's settings name, or the provider's own.
    Operators(&'a Url),
    /// A server that the tenant's own row names.
    Tenants(&'a Url),
}

/// A source that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed<'a> {
    pub source: &'a Source,
    /// Of a file that is allowed by its directory: the directory that it must really be in.
    pub directory: Option<String>,
}

impl Source {
    /// What a value names; None: the value is the secret itself.
    pub fn of(value: &str) -> Option<Result<Self, Malformed>> {
        let value = value.trim();
        let name = |prefix| value.strip_prefix(prefix);
        if let Some(name) = name(ENV) {
            return Some(variable(name).then(|| Self::Env(name.to_owned())).ok_or(Malformed));
        }
        if let Some(path) = name(FILE) {
            let is_file = is_plain_path(path) && !path.ends_with('/');
            return Some(is_file.then(|| Self::File(path.to_owned())).ok_or(Malformed));
        }
        let name = name(VAULT)?;
        let is_name = !name.is_empty() && name.trim() == name && !name.contains(char::is_control);
        Some(is_name.then(|| Self::Vault(name.to_owned())).ok_or(Malformed))
    }
}

fn variable(name: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_word)
}

/// Absolute, and without steps that lead elsewhere than they say.
fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains(char::is_control)
        && !path.split('/').any(|step| matches!(step, "." | ".."))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "{ENV}{name}"),
            Self::File(path) => write!(f, "{FILE}{path}"),
            Self::Vault(name) => write!(f, "{VAULT}{name}"),
        }
    }
}

/// The setting `whaply.secret_sources`: entries with commas between them, each a source (`file:` with
/// a `/` at its end: what is below that directory; `vault:*`: all of Vault), and after ` for ` the
/// server of a tenant's choosing to which it may be sent as well (`host`, `host:port`, or `*`).
#[derive(Clone, Debug, Default)]
pub struct Listed(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    source: Pattern,
    server: Option<String>,
}

#[derive(Clone, Debug)]
enum Pattern {
    Exactly(Source),
    Below(String),
    AllOfVault,
}

impl Listed {
    /// What cannot be read as an entry allows nothing.
    pub fn read(setting: &str) -> Self {
        Self(setting.split(',').filter_map(Entry::read).collect())
    }

    /// Whether this source may be read, and sent to where it is to go; else which entry is missing.
    pub fn allow<'a>(
        &self,
        source: &'a Source,
        destination: Destination<'_>,
    ) -> Result<Allowed<'a>, String> {
        let reach = |entry: &&Entry| entry.reaches(destination);
        let matching = self.0.iter().filter(reach).find_map(|entry| entry.source.holds(source));
        matching.map(|directory| Allowed { source, directory }).ok_or_else(|| {
            let missing = match destination {
                Destination::Tenants(url) => format!("{source} for {}", host_and_port(url)),
                Destination::Operators(_) | Destination::Nowhere => source.to_string(),
            };
            format!("which whaply.secret_sources does not list: add '{missing}' to that setting")
        })
    }

    /// Whether the entries that name servers for this source name others than this one of a tenant's.
    pub fn keeps_from(&self, source: &Source, server: &Url) -> bool {
        let bound = |entry: &&Entry| entry.server.is_some() && entry.source.holds(source).is_some();
        let mut bound = self.0.iter().filter(bound).peekable();
        bound.peek().is_some() && !bound.any(|entry| entry.reaches(Destination::Tenants(server)))
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let (source, server) = match text.rsplit_once(" for ") {
            Some((source, server)) => (source.trim(), Some(server.trim().to_ascii_lowercase())),
            None => (text.trim(), None),
        };
        let directory = source.strip_prefix(FILE).filter(|path| path.ends_with('/'));
        let source = match directory {
            Some(path) => is_plain_path(path).then(|| Pattern::Below(path.to_owned()))?,
            None if source == "vault:*" => Pattern::AllOfVault,
            None => Pattern::Exactly(Source::of(source)?.ok()?),
        };
        Some(Self { source, server })
    }

    /// A tenant's server must be named, or a tenant would read the operator's keys at a server of its
    /// own. A server that is named limits the entry to it.
    fn reaches(&self, destination: Destination<'_>) -> bool {
        match (destination, self.server.as_deref()) {
            (Destination::Nowhere, _) | (Destination::Operators(_), None) => true,
            (Destination::Tenants(_), None) => false,
            (_, Some("*")) => true,
            (Destination::Operators(url) | Destination::Tenants(url), Some(server)) => {
                url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(server))
                    || host_and_port(url).eq_ignore_ascii_case(server)
            }
        }
    }
}

impl Pattern {
    /// Whether the source is one of these; with the directory that a file must really be in.
    fn holds(&self, source: &Source) -> Option<Option<String>> {
        match (self, source) {
            (Self::Exactly(listed), source) => (listed == source).then_some(None),
            (Self::AllOfVault, Source::Vault(_)) => Some(None),
            (Self::Below(directory), Source::File(path)) => {
                path.starts_with(directory).then(|| Some(directory.clone()))
            }
            _ => None,
        }
    }
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
