//! What `/metrics` tells of the tables. Plain numbers, read by the main thread.

/// The open replies of the database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// By state: waiting, generating, sending.
    pub replies: Vec<(String, i64)>,
    /// How long the oldest waiting reply has been due, in seconds.
    pub overdue_seconds: f64,
}
