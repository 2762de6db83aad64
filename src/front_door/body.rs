//! Reads the body of a post into memory, as far as there is room for it. It reads no meaning out of
//! it, but for whose it is where it is too large.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hall::SMALL_BODY;

/// A body that is too large is read to its end all the same, up to this many times the limit: a
/// client that is still sending does not see the answer.
const SWALLOWED: usize = 16;

/// So much of the beginning of a body that is too large is kept, to find whose it is: Evolution writes
/// `event` and `instance` first.
const BEGINNING: usize = 4_096;

/// Memory beyond [`SMALL_BODY`] is counted in such pieces.
const PIECE: usize = 64 * 1_024;

/// A body with the memory that was counted for it.
pub struct Text {
    pub bytes: Vec<u8>,
    pub memory: Option<OwnedSemaphorePermit>,
}

pub enum Unread {
    TooLarge {
        instance: Option<String>,
    },
    /// Too many large bodies are in memory.
    NoRoom,
    /// The client went away, or wrote what is no HTTP.
    Broken,
}

/// The `instance` that the beginning of a text names.
pub fn instance_named(text: &[u8]) -> Option<String> {
    instance_of(text.get(..BEGINNING).unwrap_or(text))
}

/// The whole body, at most `most` bytes.
pub async fn read(mut body: Incoming, most: usize, pool: &Arc<Semaphore>) -> Result<Text, Unread> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > most {
        return Err(swallow(body, Vec::new(), 0, most).await);
    }
    let mut text = Text { bytes: Vec::with_capacity(expected.min(SMALL_BODY)), memory: None };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Unread::Broken) };
        // Headers after the body, which say nothing to us.
        let Ok(data) = frame.into_data() else { continue };
        let length = text.bytes.len() + data.len();
        if length > most {
            text.memory = None;
            return Err(swallow(body, text.bytes, length, most).await);
        }
        if length > SMALL_BODY && !text.reserve(length.max(expected), pool) {
            return Err(Unread::NoRoom);
        }
        text.bytes.extend_from_slice(&data);
    }
    Ok(text)
}

impl Text {
    /// Counts the memory for a body of this length; whether there is as much.
    fn reserve(&mut self, length: usize, pool: &Arc<Semaphore>) -> bool {
        let pieces = length.div_ceil(PIECE) * (PIECE / 1_024);
        let counted = self.memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(pieces.saturating_sub(counted)) else { return false };
        match Arc::clone(pool).try_acquire_many_owned(more) {
            Err(_) => false,
            Ok(permit) => {
                match &mut self.memory {
                    Some(memory) => memory.merge(permit),
                    None => self.memory = Some(permit),
                }
                true
            }
        }
    }
}

async fn swallow(mut body: Incoming, mut kept: Vec<u8>, mut length: usize, most: usize) -> Unread {
    kept.truncate(BEGINNING);
    kept.shrink_to_fit();
    while length < most.saturating_mul(SWALLOWED) {
        let Some(Ok(frame)) = body.frame().await else { break };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        let wanted = BEGINNING.saturating_sub(kept.len());
        kept.extend_from_slice(data.get(..wanted).unwrap_or(&data));
    }
    Unread::TooLarge { instance: instance_of(&kept) }
}

/// The `instance` of a JSON object of which only the beginning is there.
fn instance_of(beginning: &[u8]) -> Option<String> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(beginning);
    // That it breaks off is no news.
    let _ = Find(&mut found).deserialize(&mut reader);
    found
}

struct Find<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a webhook")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "instance" {
                *self.0 = map.next_value::<Lenient>()?.0;
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// A text, or anything else, which is none.
struct Lenient(Option<String>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(reader)?;
        Ok(Self(value.as_str().map(str::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_is_found_in_the_beginning_of_a_body() {
        for (beginning, instance) in [
            (r#"{"event":"messages.upsert","instance":"loja","data":{"key":{"id""#, Some("loja")),
            (r#"{"instance":"loja \u00e9", "data""#, Some("loja é")),
            (r#"{"event":"messages.upsert","data":{"instance":"of the data"#, None),
            (r#"{"instance":7,"data":1}"#, None),
            (r#"{"instance":"lo"#, None),
            ("no JSON", None),
            ("", None),
        ] {
            assert_eq!(instance_of(beginning.as_bytes()).as_deref(), instance, "{beginning}");
        }
    }
}
