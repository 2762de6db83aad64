//! Webhook bodies in the shapes of Evolution API 2.3.6, made up or from `tests/fixtures`. It builds
//! values and sends nothing.

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, FixedOffset, Utc};
use serde_json::{Value, json};

use crate::person::Person;

/// 2025-10-21T14:00:00Z: when every fixture was made, in seconds.
const FIXTURE_CLOCK: i64 = 1_761_055_200;

/// The Docker image of Evolution runs in São Paulo, and stamps local time with a `Z`.
const EVOLUTION_UTC_OFFSET_SECONDS: i32 = -3 * 3600;

/// The business's side of an instance: what an envelope says besides the event.
#[derive(Clone, Debug)]
pub struct Line {
    pub instance: String,
    pub instance_id: String,
    /// The instance's own JID; never a customer's.
    pub own_jid: String,
    /// The `pushName` of what the owner types.
    pub owner_name: String,
    pub server_url: String,
    /// Evolution shows the instance's token in `apikey` only where it is configured to.
    pub exposed_token: Option<String>,
}

impl Line {
    pub fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            instance_id: uuid(),
            own_jid: "5511988880000@s.whatsapp.net".to_owned(),
            owner_name: "Loja Demo".to_owned(),
            server_url: "http://localhost:8080".to_owned(),
            exposed_token: None,
        }
    }

    /// The whole body of one webhook.
    pub fn envelope(&self, event: &str, data: Value, destination: &str) -> Value {
        json!({
            "event": event,
            "instance": self.instance,
            "data": data,
            "destination": destination,
            "date_time": local_time_called_utc(Utc::now()),
            "sender": self.own_jid,
            "server_url": self.server_url,
            "apikey": self.exposed_token,
        })
    }

    /// `data` of `messages.upsert` for something a customer sent. `message` is WhatsApp's content,
    /// e.g. `{"conversation": "Oi"}` with the type `conversation`.
    pub fn customer_message(
        &self,
        person: &Person,
        id: &str,
        message: Value,
        message_type: &str,
        sent_at: DateTime<Utc>,
    ) -> Value {
        json!({
            "key": person.key(id, false),
            "pushName": person.name(),
            "status": "DELIVERY_ACK",
            "message": message,
            "messageType": message_type,
            "messageTimestamp": sent_at.timestamp(),
            "instanceId": self.instance_id,
            "source": "android",
        })
    }

    /// `data` of `messages.upsert` for what the owner typed on the phone.
    pub fn owner_message(
        &self,
        person: &Person,
        id: &str,
        text: &str,
        sent_at: DateTime<Utc>,
    ) -> Value {
        let mut data = self.customer_message(
            person,
            id,
            json!({ "conversation": text }),
            "conversation",
            sent_at,
        );
        data["key"] = person.key(id, true);
        data["pushName"] = self.owner_name.as_str().into();
        data["status"] = "SERVER_ACK".into();
        data
    }

    /// The message object of an API send: the 201 of `sendText`, and `data` of `send.message`.
    pub fn api_message(&self, jid: &str, id: &str, text: &str, sent_at: DateTime<Utc>) -> Value {
        json!({
            "key": { "remoteJid": jid, "fromMe": true, "id": id },
            "pushName": "Você",
            "status": "PENDING",
            "message": { "conversation": text },
            "contextInfo": {
                "mentionedJid": [],
                "groupMentions": [],
                "ephemeralSettingTimestamp": { "low": 1760882400, "high": 0, "unsigned": false },
                "disappearingMode": { "initiator": 0 },
            },
            "messageType": "conversation",
            "messageTimestamp": sent_at.timestamp(),
            "instanceId": self.instance_id,
            "source": "web",
        })
    }

    /// `data` of `messages.update`. `status` is SERVER_ACK, DELIVERY_ACK, READ, PLAYED or ERROR.
    pub fn receipt(&self, jid: &str, id: &str, from_me: bool, status: &str) -> Value {
        json!({
            "keyId": id,
            "remoteJid": jid,
            "fromMe": from_me,
            "status": status,
            "instanceId": self.instance_id,
            "messageId": format!("cm{}", hex(23).to_lowercase()),
        })
    }

    /// `data` of `messages.edited`: the key is in the customer's view, so only its id says anything.
    pub fn edit(&self, id: &str, text: &str, edited_at: DateTime<Utc>) -> Value {
        json!({
            "key": { "remoteJid": self.own_jid, "fromMe": true, "id": id },
            "type": "MESSAGE_EDIT",
            "editedMessage": { "conversation": text },
            "timestampMs": edited_at.timestamp_millis().to_string(),
        })
    }

    /// `data` of `connection.update`. `state` is open, connecting, close or refused.
    pub fn connection(&self, state: &str) -> Value {
        let reason = match state {
            "open" | "connecting" => 200,
            "refused" => 428,
            _ => 401,
        };
        json!({
            "instance": self.instance,
            "wuid": self.own_jid,
            "profileName": self.owner_name,
            "profilePictureUrl": null,
            "state": state,
            "statusReason": reason,
        })
    }
}

/// `tests/fixtures/<path>`, e.g. `http/sendText.201.json`, as it is.
pub fn fixture(path: &str) -> Value {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    let text = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// `tests/fixtures/webhooks/<name>.json` as if it happened now: what was an hour old when the
/// fixtures were made is an hour old again.
pub fn webhook_fixture(name: &str) -> Value {
    let mut payload = fixture(&format!("webhooks/{name}.json"));
    shift_times(&mut payload, Utc::now().timestamp() - FIXTURE_CLOCK);
    payload["date_time"] = local_time_called_utc(Utc::now()).into();
    payload
}

/// Only these two fields tell when something happened; the others are WhatsApp's inner workings.
fn shift_times(value: &mut Value, seconds: i64) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| shift_times(item, seconds)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field.as_i64(), field.as_str().map(str::parse::<i64>)) {
                    ("messageTimestamp", Some(at), _) => *field = (at + seconds).into(),
                    ("timestampMs", Some(at), _) => *field = (at + seconds * 1000).into(),
                    ("timestampMs", _, Some(Ok(at))) => {
                        *field = (at + seconds * 1000).to_string().into();
                    }
                    _ => shift_times(field, seconds),
                }
            }
        }
        _ => {}
    }
}

/// Evolution's `date_time`: the server's local time, formatted as if it were UTC.
fn local_time_called_utc(at: DateTime<Utc>) -> String {
    let offset = FixedOffset::east_opt(EVOLUTION_UTC_OFFSET_SECONDS).expect("a valid offset");
    at.with_timezone(&offset).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The JID Evolution makes of the `number` of a send (2.3.6, createJid).
pub fn jid_of_number(number: &str) -> String {
    let number = number.split_once(':').map_or(number.to_owned(), |(user, rest)| {
        format!("{user}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
    });
    if ["@g.us", "@s.whatsapp.net", "@lid", "@broadcast"].iter().any(|kind| number.contains(kind)) {
        return number;
    }
    let mut digits: String = number.chars().filter(char::is_ascii_digit).collect();
    if digits.len() >= 18 {
        return format!("{digits}@g.us");
    }
    let mexican_or_argentine = digits.starts_with("52") || digits.starts_with("54");
    if digits.len() == 13 && mexican_or_argentine {
        digits.remove(2);
    } else if digits.len() == 13 && digits.starts_with("55") {
        // Outside the old area codes WhatsApp knows Brazilian mobiles without their ninth digit.
        let area: u8 = digits[2..4].parse().unwrap_or_default();
        if area >= 31 && matches!(digits.as_bytes()[5], b'7'..=b'9') {
            digits.remove(4);
        }
    }
    format!("{digits}@s.whatsapp.net")
}

/// An id as Android makes them: 32 hex digits.
pub fn phone_message_id() -> String {
    format!("AC{}", hex(30))
}

/// An id as Evolution makes them: `3EB0` and 18 hex digits.
pub fn api_message_id() -> String {
    format!("3EB0{}", hex(18))
}

pub(crate) fn uuid() -> String {
    let parts = [8, 4, 4, 4, 12].map(hex);
    parts.join("-").to_lowercase()
}

pub(crate) fn hex(digits: usize) -> String {
    (0..digits).map(|_| fastrand::digit(16).to_ascii_uppercase()).collect()
}
