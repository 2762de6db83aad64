//! Which chat a message belongs to: its session is found under any of its names and locked, and two
//! sessions that turn out to be one chat are merged. It never moves a message.

use super::consequences;
use crate::error::Result;
use crate::store::sessions::{self, Session};
use crate::store::{Chat, chat_aliases, messages, replies};
use crate::webhook::{Jid, JidKind, Message};

/// The chat of a message. `session` is None where none exists yet; then `chat` is how it would be
/// named.
pub struct Found {
    pub chat: Chat,
    pub session: Option<Session>,
}

/// Finds the chat of a message, locks its session, and learns what the message tells of its names.
pub fn find(tenant_id: i32, message: &Message) -> Result<Found> {
    let mut known = known_chats(tenant_id, message)?;
    loop {
        let Some(oldest) = known.first().cloned() else {
            let chat = Chat { tenant_id, chat_id: new_name(message).to_owned() };
            return Ok(Found { chat, session: None });
        };
        let mut session = sessions::lock(&oldest)?;
        // A merge may have won the race for the lock: then the chat has another name by now.
        known = known_chats(tenant_id, message)?;
        if known.first() != Some(&oldest) {
            continue;
        }
        for younger in known.iter().skip(1) {
            merge(&oldest, younger)?;
            session = sessions::lock(&oldest)?;
        }
        learn(&oldest, message)?;
        return Ok(Found { chat: oldest, session });
    }
}

/// The sessions a message may belong to, oldest first.
fn known_chats(tenant_id: i32, message: &Message) -> Result<Vec<Chat>> {
    let mut known = chat_aliases::sessions_of(tenant_id, &names(message))?;
    if message.from_me {
        // The other name of a message of ours may be our own: it proves no two chats to be one.
        known.truncate(1);
    }
    Ok(known.into_iter().map(|chat_id| Chat { tenant_id, chat_id }).collect())
}

/// Makes the session of a chat that has none, under the names its message has.
pub fn create(chat: &Chat, message: &Message) -> Result<Option<Session>> {
    let session = sessions::create_and_lock(chat)?;
    learn(chat, message)?;
    Ok(session)
}

/// What the chat may be called already. One phone has two numbers in some countries: a person who
/// paused the chat may have typed the one, and WhatsApp use the other.
fn names(message: &Message) -> Vec<String> {
    let jids = std::iter::once(&message.jid).chain(&message.alt);
    jids.flat_map(Jid::phone_variants).map(|jid| jid.as_str().to_owned()).collect()
}

/// A new session is named by the phone number, where the message tells it.
fn new_name(message: &Message) -> &str {
    match &message.alt {
        Some(alt) if message.jid.kind() == JidKind::Lid && alt.kind() == JidKind::Person => {
            alt.as_str()
        }
        _ => message.jid.as_str(),
    }
}

/// A customer's message names both JIDs of its chat. Of one of ours only a phone number is
/// believed: the LID beside it could be our own.
fn learn(chat: &Chat, message: &Message) -> Result<()> {
    let alt = message.alt.iter().filter(|alt| !message.from_me || alt.kind() == JidKind::Person);
    for jid in std::iter::once(&message.jid).chain(alt) {
        if jid.as_str() != chat.chat_id {
            chat_aliases::add(chat, jid.as_str())?;
        }
    }
    Ok(())
}

/// Learns that a LID and a phone number are one person, where one of them has a session.
pub fn learn_pairs(tenant_id: i32, pairs: &[(Jid, Jid)]) -> Result<()> {
    for (lid, phone) in pairs {
        let names = [lid.as_str().to_owned(), phone.as_str().to_owned()];
        let known = chat_aliases::sessions_of(tenant_id, &names)?;
        // Two sessions: the customer's next message merges them, under their locks.
        if let [chat_id] = known.as_slice() {
            let chat = Chat { tenant_id, chat_id: chat_id.clone() };
            for name in names.iter().filter(|&name| name != chat_id) {
                chat_aliases::add(&chat, name)?;
            }
        }
    }
    Ok(())
}

/// Two sessions are one chat: the older stays, paused if either was; what the younger was about to
/// answer is answered there.
fn merge(older: &Chat, younger: &Chat) -> Result<()> {
    let Some(younger_session) = sessions::lock(younger)? else { return Ok(()) };
    chat_aliases::merge(older.tenant_id, &older.chat_id, &younger.chat_id)?;
    sessions::take_over_state(older, younger)?;
    // Nobody can name it any more, and no list shall show its pause beside that of the older.
    sessions::resume(younger)?;
    let open = replies::open_in(younger)?;
    consequences::supersede(younger, "this chat was found to be one with another")?;
    if let Some(reply) = &open {
        messages::release_questions(younger, reply.id, reply.first_sent_at)?;
    }
    if let Some(reply) = open
        && !younger_session.is_paused
    {
        consequences::ask_again(older, reply.first_sent_at, reply.created_at)?;
    }
    if younger_session.is_paused {
        consequences::stop_speaking(older, "the chat was paused under its other name", true)?;
    }
    Ok(())
}
