//! The people of a story, and how WhatsApp addresses them: by phone number, by LID, or by both.

use serde_json::{Value, json};

const PHONE_SUFFIX: &str = "@s.whatsapp.net";
const LID_SUFFIX: &str = "@lid";

/// A customer. `remoteJid` is the phone's JID unless the chat is addressed by LID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    phone: Option<String>,
    lid: Option<String>,
    name: Option<String>,
    addressed_by_lid: bool,
}

impl Person {
    /// The customer of most stories, whose chat is `5511999990001@s.whatsapp.net`.
    pub fn maria() -> Self {
        Self::with_phone("5511999990001").named("Maria Silva")
    }

    /// Another one, whose chat is `5511999990002@s.whatsapp.net`.
    pub fn joao() -> Self {
        Self::with_phone("5511999990002").named("João")
    }

    /// `number` in digits only, e.g. `5511999990001`.
    pub fn with_phone(number: &str) -> Self {
        let phone = Some(format!("{number}{PHONE_SUFFIX}"));
        Self { phone, lid: None, name: None, addressed_by_lid: false }
    }

    /// A chat of which only the LID is known, e.g. `100000000000001`.
    pub fn with_lid(digits: &str) -> Self {
        let lid = Some(format!("{digits}{LID_SUFFIX}"));
        Self { phone: None, lid, name: None, addressed_by_lid: true }
    }

    pub fn and_lid(self, digits: &str) -> Self {
        Self { lid: Some(format!("{digits}{LID_SUFFIX}")), ..self }
    }

    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// The same person, in a chat whose `remoteJid` is the LID.
    pub fn by_lid(&self) -> Self {
        Self { addressed_by_lid: true, ..self.clone() }
    }

    /// The same person, but WhatsApp does not tell the other JID.
    pub fn without_alternative(&self) -> Self {
        match self.addressed_by_lid {
            true => Self { phone: None, ..self.clone() },
            false => Self { lid: None, ..self.clone() },
        }
    }

    /// What `key.remoteJid` says.
    pub fn jid(&self) -> &str {
        let (first, second) = match self.addressed_by_lid {
            true => (&self.lid, &self.phone),
            false => (&self.phone, &self.lid),
        };
        first.as_deref().or(second.as_deref()).unwrap_or_default()
    }

    /// What `key.remoteJidAlt` says, if WhatsApp tells it.
    pub fn alternative_jid(&self) -> Option<&str> {
        let all = [self.phone.as_deref(), self.lid.as_deref()];
        all.into_iter().flatten().find(|jid| *jid != self.jid())
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The key of a live message in this person's chat (`participant` is empty there, never absent).
    pub fn key(&self, id: &str, from_me: bool) -> Value {
        let mut key = json!({ "remoteJid": self.jid() });
        if let Some(alternative) = self.alternative_jid() {
            key["remoteJidAlt"] = alternative.into();
        }
        key["fromMe"] = from_me.into();
        key["id"] = id.into();
        key["participant"] = "".into();
        key["addressingMode"] = if self.jid().ends_with(LID_SUFFIX) { "lid" } else { "pn" }.into();
        key
    }
}

impl From<&Person> for Person {
    fn from(person: &Person) -> Self {
        person.clone()
    }
}

/// A JID of any kind, or a bare phone number.
impl From<&str> for Person {
    fn from(jid: &str) -> Self {
        match jid.split_once('@') {
            None => Self::with_phone(jid),
            Some((digits, "lid")) => Self::with_lid(digits),
            Some(_) => {
                let phone = Some(jid.to_owned());
                Self { phone, lid: None, name: None, addressed_by_lid: false }
            }
        }
    }
}
