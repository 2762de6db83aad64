//! Whether the database takes webhooks and answers them, as `/healthz` tells it. Pure.

/// What a load balancer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    /// Why not, in a few words without any value of the database.
    Unwell(String),
}

impl Health {
    pub fn unwell(reason: impl Into<String>) -> Self {
        Self::Unwell(reason.into())
    }
}
