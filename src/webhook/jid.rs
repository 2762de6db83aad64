//! The address of a chat or a person on WhatsApp, normalised on construction so that equal people
//! compare equal. Never asks whether the address exists.

use std::fmt;

use super::fields::{MAX_IDENTIFIER, is_longer};
use super::phone;

const PERSON: &str = "s.whatsapp.net";
const LID: &str = "lid";
const GROUP: &str = "g.us";

/// Meta AI answers under this number.
const META_AI: &str = "13135550002";

/// A JID without device part: `5511999990001@s.whatsapp.net`, `100000000000001@lid`, …
/// Not empty, 255 characters at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jid(String);

/// Who or what answers to a JID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JidKind {
    /// A phone number.
    Person,
    /// A person whose number WhatsApp hides.
    Lid,
    Group,
    /// `status@broadcast`, the stories.
    StatusBroadcast,
    /// A broadcast list.
    Broadcast,
    Newsletter,
    Bot,
    /// `0@s.whatsapp.net`, WhatsApp's own notices.
    Notice,
    Other,
}

impl Jid {
    /// A JID as Evolution writes it: the device part goes, hosted and old servers get their
    /// present name, a bare number (channel EVOLUTION) becomes a person. What cannot be read stays
    /// as it is, of kind `Other`. None when blank or over 255 characters.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || is_longer(text, MAX_IDENTIFIER) {
            return None;
        }
        let Some((user, server)) = text.rsplit_once('@') else {
            return Self::of_number(text).or_else(|| Some(Self(text.to_owned())));
        };
        let server = server.to_ascii_lowercase();
        let server = match server.as_str() {
            "c.us" | "hosted" => PERSON,
            "hosted.lid" => LID,
            other => other,
        };
        Self::within_limit(format!("{}@{server}", without_device(user, server)))
    }

    /// A normal form can be longer than what was written: `c.us` grows by ten characters.
    fn within_limit(jid: String) -> Option<Self> {
        (!is_longer(&jid, MAX_IDENTIFIER)).then_some(Self(jid))
    }

    /// What a person types to name a chat: a JID, a LID, or an international phone number in any
    /// writing (`+55 (11) 99999-0001`). Bare digits are a phone number, never a LID. None when it
    /// names nothing that WhatsApp knows.
    pub fn from_any_writing(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.contains('@') {
            return Self::of_number(text);
        }
        let jid = Self::new(text)?;
        let user = jid.user();
        let is_plausible = match jid.kind() {
            JidKind::Other => false,
            JidKind::Person | JidKind::Lid => phone::is_digits(user),
            _ => user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
        };
        is_plausible.then_some(jid)
    }

    fn of_number(text: &str) -> Option<Self> {
        let text = text.split(':').next().unwrap_or(text);
        if phone::is_group_number(text) {
            return Self::within_limit(format!("{text}@{GROUP}"));
        }
        phone::digits_of(text).map(|digits| Self::of_digits(&digits))
    }

    /// A phone number in digits, with its country code.
    pub(super) fn of_digits(digits: &str) -> Self {
        Self(format!("{digits}@{PERSON}"))
    }

    pub fn kind(&self) -> JidKind {
        let Some((user, server)) = self.0.rsplit_once('@') else { return JidKind::Other };
        match (user, server) {
            ("", _) => JidKind::Other,
            ("0", PERSON) => JidKind::Notice,
            (META_AI, PERSON) => JidKind::Bot,
            (_, PERSON) => JidKind::Person,
            (_, LID) => JidKind::Lid,
            (_, GROUP) => JidKind::Group,
            ("status", "broadcast") => JidKind::StatusBroadcast,
            (_, "broadcast") => JidKind::Broadcast,
            (_, "newsletter") => JidKind::Newsletter,
            (_, "bot") => JidKind::Bot,
            _ => JidKind::Other,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before `@`: the phone number of a person.
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or(self.0.as_str(), |(user, _)| user)
    }

    /// The JIDs under which WhatsApp may know the same phone: with and without the Brazilian 9th
    /// digit, 52 and 521 in Mexico, 54 and 549 in Argentina. Itself first; alone unless a person.
    pub fn phone_variants(&self) -> Vec<Self> {
        let mut variants = vec![self.clone()];
        if self.kind() == JidKind::Person {
            variants.extend(phone::other_writing(self.user()).map(|user| Self::of_digits(&user)));
        }
        variants
    }

    /// Whether both are the same phone, however the country writes it.
    pub fn is_same_phone(&self, other: &Self) -> bool {
        self.phone_variants().contains(other)
    }
}

/// `5511999990001_1:12` is device 12 of agent 1 of a person.
fn without_device<'a>(user: &'a str, server: &str) -> &'a str {
    let user = user.split(':').next().unwrap_or(user);
    if matches!(server, PERSON | LID) { user.split('_').next().unwrap_or(user) } else { user }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
