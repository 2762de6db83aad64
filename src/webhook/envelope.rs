//! The part of a webhook that is the same for every event. Never looks into `data`.

use serde_json::Value;

use super::fields::{self, MAX_IDENTIFIER};
use super::{Jid, Refusal};
use crate::text;

/// `processed_events.event_type`; a real name has 30 characters at most.
const MAX_EVENT: usize = 100;

/// The event names in which a dash is part of the name and no separator.
const DASHED: [&str; 3] =
    ["group-participants.update", "messaging-history.set", "typebot.change-status"];

/// What every webhook says about itself (Evolution API 2.3.6, webhook controller).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Dotted lower case, such as `messages.upsert`, however it was written; 100 characters at
    /// most. May be a name that nobody knows.
    pub event: String,
    /// The name of the instance, as it came; 255 characters at most.
    pub instance: String,
    /// The tenant's own number: `sender`, which is never the customer. Absent before the first
    /// connection and on the channels EVOLUTION and WHATSAPP-BUSINESS.
    pub own_jid: Option<Jid>,
}

impl Envelope {
    pub(super) fn read(payload: &Value) -> Result<Self, Refusal> {
        let event = fields::text(payload, "event").ok_or(Refusal::NoEvent)?;
        let instance = fields::text(payload, "instance").ok_or(Refusal::NoInstance)?;
        if fields::is_longer(instance, MAX_IDENTIFIER) {
            return Err(Refusal::TooLong { field: "instance", limit: MAX_IDENTIFIER });
        }
        Ok(Self {
            event: event_name(event),
            instance: instance.to_owned(),
            own_jid: fields::text(payload, "sender").and_then(Jid::new),
        })
    }
}

/// `MESSAGES_UPSERT` is the spelling of Evolution's settings, `messages-upsert` that of its URLs.
fn event_name(written: &str) -> String {
    let dotted = written.trim().to_lowercase().replace(['_', '-'], ".");
    let known = DASHED.into_iter().find(|name| name.replace('-', ".") == dotted);
    text::cut(known.unwrap_or(&dotted), MAX_EVENT).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_event_is_read_as_the_dotted_name() {
        for (written, name) in [
            ("messages.upsert", "messages.upsert"),
            ("MESSAGES_UPSERT", "messages.upsert"),
            ("messages-upsert", "messages.upsert"),
            ("SEND_MESSAGE_UPDATE", "send.message.update"),
            ("GROUP_PARTICIPANTS_UPDATE", "group-participants.update"),
            ("group-participants-update", "group-participants.update"),
            ("group-participants.update", "group-participants.update"),
            ("TYPEBOT_CHANGE_STATUS", "typebot.change-status"),
            (" Something_New ", "something.new"),
        ] {
            assert_eq!(event_name(written), name);
        }
    }

    #[test]
    fn a_long_event_name_is_cut_at_a_character() {
        assert_eq!(event_name(&"é".repeat(300)), "é".repeat(100));
    }
}
