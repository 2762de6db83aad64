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
    /// The library is newer than the tables: a webhook must not be lost meanwhile.
    #[error("the tables of whaply are of version {tables}, the library of {library}")]
    Outdated { tables: String, library: &'static str },
    /// What was asked for needs something that this server or transaction does not have.
    #[error("{message}")]
    NotPossible { message: String, hint: &'static str },
    /// PostgreSQL raised an ERROR in a background process.
    #[error("{message}")]
    Raised { sqlstate: String, message: String },
    /// A statement of ours failed in a way that PostgreSQL itself did not raise.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// Five characters. `PT…` are PostgREST's: it answers with the HTTP status in them.
    pub fn sqlstate(&self) -> &str {
        match self {
            Self::Refused(Refusal::TooLong { .. }) => "22001",
            Self::Refused(_) | Self::InvalidArgument { .. } => "22023",
            Self::NullArgument { .. } => "22004",
            Self::UnknownInstance { .. } => "P0002",
            Self::WrongSecret => "PT401",
            Self::WebhookForUnknownInstance { .. } => "PT404",
            Self::Standby | Self::Outdated { .. } | Self::SecretIsElsewhere => "PT503",
            Self::NotPossible { .. } => "55000",
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
            Self::InvalidArgument { hint, .. } | Self::NotPossible { hint, .. } => hint,
        };
        Some(hint.to_owned())
    }
}
