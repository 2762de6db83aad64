//! What can go wrong on a path that SQL can reach: one enum, and the one place where each variant
//! becomes SQLSTATE, message and hint. Pure: `api/raise.rs` turns it into a PostgreSQL ERROR.

use crate::webhook::Refusal;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload is no event that could be stored.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// No tenant has this instance name.
    #[error("there is no tenant for the instance \"{instance}\"")]
    UnknownInstance { instance: String },
    /// An argument that must be given is NULL.
    #[error("{argument} must not be NULL")]
    NullArgument { argument: &'static str },
    /// An argument is given, but cannot be meant.
    #[error("{argument} is not valid: {reason}")]
    InvalidArgument { argument: &'static str, reason: String, hint: &'static str },
    /// The webhook came without the tenant's secret, or with a wrong one.
    #[error("the webhook's secret is missing or wrong")]
    WrongSecret,
    /// The tenant's secret is not in its row, and a session reads no source.
    #[error("the tenant's webhook_secret names its source, which only the listener reads")]
    SecretIsElsewhere,
    /// The webhook names an instance that no tenant has.
    #[error("there is no tenant for the instance \"{instance}\"")]
    WebhookForUnknownInstance { instance: String },
    /// The webhook arrived where nothing can be written.
    #[error("this server is a standby and cannot take webhooks")]
    Standby,
    /// The tables are older than those that the library serves: a webhook must not be lost meanwhile.
    #[error("the tables of whaply are of version {tables}, the library of {library}")]
    Outdated { tables: String, library: &'static str },
    /// The role that all SQL runs as is not on this server.
    #[error("the role whaply_worker is missing")]
    WithoutRole,
    /// The caller may use the function, but not like this.
    #[error("{message}")]
    NotAllowed { message: String, hint: &'static str },
    /// What was asked for needs something that this server or transaction does not have.
    #[error("{message}")]
    NotPossible { message: String, hint: &'static str },
    /// The command needs the database for itself, and the reply worker is connected to it.
    #[error("the reply worker of whaply is connected to this database")]
    DatabaseInUse,
    /// PostgreSQL raised an ERROR in a background process.
    #[error("{message}")]
    Raised { sqlstate: String, message: String },
    /// A statement of ours failed in a way that PostgreSQL itself did not raise.
    #[error("{0}")]
    Internal(String),
}

/// Who has to change something for an error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The event itself, or the result of a call: it fails for ever.
    Event,
    /// This moment: other events, or this one alone, may go well now.
    Moment,
    /// The server: nothing goes well at the moment.
    Server,
}

/// By SQLSTATE or its class; the longest that fits counts. What is not listed is a moment's.
const BLAMES: [(&str, Blame); 16] = [
    // Data exceptions, and values that no index takes.
    ("22", Blame::Event),
    ("54", Blame::Event),
    // A sequence has come to its end: no event goes well, until somebody sees to it.
    ("2200H", Blame::Server),
    ("23502", Blame::Event),
    ("23514", Blame::Event),
    // Other constraints depend on other rows, which change: a tenant that was just deleted.
    ("23", Blame::Moment),
    // Deadlock, serialization; a lock that was not to be had.
    ("40", Blame::Moment),
    ("55P03", Blame::Moment),
    ("25006", Blame::Server),
    // No space, no memory, no connection.
    ("53", Blame::Server),
    ("58", Blame::Server),
    ("08", Blame::Server),
    // Shutdown and the like; 57014 is one statement that somebody cancelled.
    ("57014", Blame::Moment),
    ("57", Blame::Server),
    ("PT503", Blame::Server),
    // The table is gone: so is the extension.
    ("42P01", Blame::Server),
];

impl Error {
    /// Who is to blame for an error that ended a transaction.
    pub fn blame(&self) -> Blame {
        let sqlstate = self.sqlstate();
        let fitting = BLAMES.iter().filter(|(prefix, _)| sqlstate.starts_with(prefix));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map_or(Blame::Moment, |(_, blame)| *blame)
    }

    /// Five characters. `PT…` are PostgREST's: it answers with the HTTP status in them.
    pub fn sqlstate(&self) -> &str {
        match self {
            Self::Refused(Refusal::TooLong { .. }) => "22001",
            Self::Refused(_) | Self::InvalidArgument { .. } => "22023",
            Self::NullArgument { .. } => "22004",
            Self::UnknownInstance { .. } => "P0002",
            Self::WrongSecret => "PT401",
            Self::WebhookForUnknownInstance { .. } => "PT404",
            Self::Standby | Self::Outdated { .. } | Self::WithoutRole | Self::SecretIsElsewhere => {
                "PT503"
            }
            Self::NotAllowed { .. } => "42501",
            Self::NotPossible { .. } => "55000",
            Self::DatabaseInUse => "55006",
            Self::Raised { sqlstate, .. } => sqlstate,
            Self::Internal(_) => "XX000",
        }
    }

    /// What the user does next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused(refusal) => return Some(refusal.hint().to_owned()),
            Self::UnknownInstance { .. } | Self::WebhookForUnknownInstance { .. } => {
                "Insert the tenant first: INSERT INTO whaply.tenants (instance_name, evo_server_url, \
                 evo_api_key, system_prompt) VALUES (...). The name is the one in Evolution, with its case."
            }
            Self::NullArgument { .. } => "Give every argument a value.",
            Self::Raised { .. } | Self::Internal(_) => return None,
            Self::WrongSecret => {
                "Enter the header x-whaply-secret in Evolution's webhook: SELECT whaply.webhook_settings(instance_name) \
                 prints it."
            }
            Self::SecretIsElsewhere => {
                "Let Evolution post to the listener (whaply.listen), or put the secret itself into tenants.webhook_secret."
            }
            Self::Standby => "Send webhooks to the primary.",
            Self::Outdated { .. } => "ALTER EXTENSION whaply UPDATE, in this database.",
            Self::DatabaseInUse => {
                "Stop it there first: SELECT whaply.stop_worker(). With whaply in shared_preload_libraries it \
                 makes way by itself."
            }
            Self::WithoutRole => "It was renamed: ALTER ROLE ... RENAME TO whaply_worker.",
            Self::InvalidArgument { hint, .. }
            | Self::NotPossible { hint, .. }
            | Self::NotAllowed { hint, .. } => hint,
        };
        Some(hint.to_owned())
    }
}
