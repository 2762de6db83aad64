//! How far a message of ours has come. The one place where a status becomes text and back.

use serde_json::Value;

use super::fields;

/// Variants stand in the order in which they may follow each other. `Error` comes before
/// `DeliveryAck`: a message that was delivered has not failed, one refused after the server's ack
/// has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Pending,
    ServerAck,
    Error,
    DeliveryAck,
    Read,
    Played,
}

impl Status {
    /// Baileys' name or its number, or Meta's word (WHATSAPP-BUSINESS). None for `DELETED`, which
    /// Evolution gives where it knows no status, and for anything else.
    pub(super) fn read(value: &Value) -> Option<Self> {
        if let Some(word) = value.as_str() {
            return Self::from_word(word);
        }
        match fields::integer(value)? {
            0 => Some(Self::Error),
            1 => Some(Self::Pending),
            2 => Some(Self::ServerAck),
            3 => Some(Self::DeliveryAck),
            4 => Some(Self::Read),
            5 => Some(Self::Played),
            _ => None,
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_uppercase().as_str() {
            "ERROR" | "FAILED" => Some(Self::Error),
            "PENDING" => Some(Self::Pending),
            "SERVER_ACK" | "SENT" => Some(Self::ServerAck),
            "DELIVERY_ACK" | "DELIVERED" => Some(Self::DeliveryAck),
            "READ" => Some(Self::Read),
            "PLAYED" => Some(Self::Played),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::ServerAck => "SERVER_ACK",
            Self::Error => "ERROR",
            Self::DeliveryAck => "DELIVERY_ACK",
            Self::Read => "READ",
            Self::Played => "PLAYED",
        }
    }

    /// The inverse of [`Self::as_str`]; takes Meta's words too.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_word(text)
    }

    /// Whether a receipt may change `from` into `to`: receipts come late and in any order.
    pub fn moves_forward(from: Option<Self>, to: Self) -> bool {
        from.is_none_or(|from| from < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_moves_forward_only_and_an_error_yields_to_a_delivery() {
        use Status::*;
        for (from, to, forward) in [
            (None, Pending, true),
            (Some(Pending), ServerAck, true),
            (Some(ServerAck), Error, true),
            (Some(Error), ServerAck, false),
            (Some(Error), DeliveryAck, true),
            (Some(DeliveryAck), Error, false),
            (Some(Read), DeliveryAck, false),
            (Some(Read), Read, false),
            (Some(Read), Played, true),
        ] {
            assert_eq!(Status::moves_forward(from, to), forward, "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn names_numbers_and_the_words_of_meta_are_understood() {
        for (value, status) in [
            (json!("SERVER_ACK"), Some(Status::ServerAck)),
            (json!(3), Some(Status::DeliveryAck)),
            (json!("SENT"), Some(Status::ServerAck)),
            (json!("DELIVERED"), Some(Status::DeliveryAck)),
            (json!("FAILED"), Some(Status::Error)),
            (json!("DELETED"), None),
            (json!(null), None),
            (json!(9), None),
        ] {
            assert_eq!(Status::read(&value), status, "{value}");
        }
    }

    #[test]
    fn every_status_survives_its_text() {
        use Status::*;
        for status in [Pending, ServerAck, Error, DeliveryAck, Read, Played] {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
    }
}
