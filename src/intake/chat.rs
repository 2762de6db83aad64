//! Which chat a message belongs to: its session is found under any of its names and locked, and two
//! sessions that turn out to be one chat are merged. It never moves a message.

use super::consequences;
use crate::error::Result;
use crate::store::replies::{self, Reply};
use crate::store::sessions::{self, Session};
use crate::store::tenants::{self, Tenant};
use crate::store::{Chat, chat_aliases, deliveries, messages, questions};
use crate::webhook::{Jid, JidKind, Message};

/// The chat of a message. `session` is None where none exists yet; then `chat` is how it would be
/// named.
pub struct Found {
    pub chat: Chat,
    pub session: Option<Session>,
}

/// Finds the chat of a message, locks its session, and learns what the message tells of its names.
pub fn find(tenant: &Tenant, message: &Message) -> Result<Found> {
    reserve_new_names(tenant, message)?;
    let mut known = known_chats(tenant, message)?;
    loop {
        let Some(oldest) = known.first().cloned() else {
            let chat = Chat { tenant_id: tenant.id, chat_id: new_name(message).to_owned() };
            return Ok(Found { chat, session: None });
        };
        let mut session = sessions::lock(&oldest)?;
        // A merge may have won the race for the lock: then the chat has another name by now.
        known = known_chats(tenant, message)?;
        if known.first() != Some(&oldest) {
            continue;
        }
        for younger in known.iter().skip(1) {
            merge(&oldest, younger)?;
            session = sessions::lock(&oldest)?;
        }
        learn(tenant, &oldest, message)?;
        return Ok(Found { chat: oldest, session });
    }
}

/// A name that nobody has used yet is about to become one of a chat.
fn reserve_new_names(tenant: &Tenant, message: &Message) -> Result<()> {
    let alt = believed_alt(tenant, message)?;
    let jids: Vec<&Jid> = std::iter::once(&message.jid).chain(alt).collect();
    let names: Vec<String> = jids.iter().map(|jid| jid.as_str().to_owned()).collect();
    if chat_aliases::are_known(tenant.id, &names)? {
        return Ok(());
    }
    chat_aliases::reserve(tenant.id, &writings(&mut jids.into_iter()))
}

/// Locks the session of the chat that `name` tells, if it has one, under the name it has once the
/// lock is held: a merge may have been under way.
pub fn lock_under(name: impl Fn() -> Result<Chat>) -> Result<Chat> {
    let mut chat = name()?;
    loop {
        sessions::lock(&chat)?;
        let today = name()?;
        if today == chat {
            return Ok(chat);
        }
        chat = today;
    }
}

/// Locks the session that a chat belongs to today: it may have been found to be one with another.
pub fn lock_today(chat: &Chat) -> Result<Chat> {
    lock_under(|| chat_aliases::today(chat))
}

/// The sessions a message may belong to, oldest first.
fn known_chats(tenant: &Tenant, message: &Message) -> Result<Vec<Chat>> {
    let sessions_of = |jids: &mut dyn Iterator<Item = &Jid>| -> Result<Vec<Chat>> {
        let known = chat_aliases::sessions_of(tenant.id, &writings(jids))?;
        Ok(known.into_iter().map(|chat_id| Chat { tenant_id: tenant.id, chat_id }).collect())
    };
    let alt = believed_alt(tenant, message)?;
    let all = sessions_of(&mut std::iter::once(&message.jid).chain(alt))?;
    if !message.is_from_the_business() || all.is_empty() {
        return Ok(all);
    }
    let named = sessions_of(&mut std::iter::once(&message.jid))?;
    if all == named && all.len() < 2 {
        return Ok(all);
    }
    // The other name of a message of ours may be our own, that of our notes to ourselves. It proves
    // chats to be one only where a customer has written under each: nobody writes to us under our name.
    for chat in &all {
        if !sessions::customer_has_written(chat)? {
            return Ok(named.into_iter().take(1).collect());
        }
    }
    Ok(all)
}

/// Makes the session of a chat that has none, under the names its message has.
pub fn create(tenant: &Tenant, chat: &Chat, message: &Message) -> Result<Option<Session>> {
    let session = sessions::create_and_lock(chat)?;
    learn(tenant, chat, message)?;
    Ok(session)
}

/// What the chat may be called already. One phone has two numbers in some countries: a person who
/// paused the chat may have typed the one, and WhatsApp use the other.
pub fn writings(jids: &mut dyn Iterator<Item = &Jid>) -> Vec<String> {
    jids.flat_map(Jid::phone_variants).map(|jid| jid.as_str().to_owned()).collect()
}

/// The other name of the chat, as far as it is the customer's. Our own phone number is left out by
/// the reader; a LID beside a message of ours could be our own, too, until a customer writes from it.
fn believed_alt<'a>(tenant: &Tenant, message: &'a Message) -> Result<Option<&'a Jid>> {
    let Some(alt) = &message.alt else { return Ok(None) };
    if tenant.owns(alt) {
        return Ok(None);
    }
    if !message.is_from_the_business() || alt.kind() != JidKind::Lid {
        return Ok(Some(alt));
    }
    let Some(presumed) = chat_aliases::presumed(tenant.id, alt.as_str())? else {
        return Ok(Some(alt));
    };
    let here = chat_aliases::sessions_of(tenant.id, &writings(&mut std::iter::once(&message.jid)))?;
    Ok(here.contains(&presumed).then_some(alt))
}

/// A new session is named by the phone number, where the message tells it.
pub fn new_name(message: &Message) -> &str {
    match &message.alt {
        Some(alt) if message.jid.kind() == JidKind::Lid && alt.kind() == JidKind::Person => {
            alt.as_str()
        }
        _ => message.jid.as_str(),
    }
}

/// A customer's message names both JIDs of its chat. Of one of ours a LID is only presumed to be the
/// customer's: one that comes beside the messages to two customers is our own.
fn learn(tenant: &Tenant, chat: &Chat, message: &Message) -> Result<()> {
    if message.jid.as_str() != chat.chat_id {
        chat_aliases::add(chat, message.jid.as_str())?;
    }
    let Some(alt) = message.alt.as_ref().filter(|alt| !tenant.owns(alt)) else { return Ok(()) };
    if alt.as_str() == chat.chat_id {
        return Ok(());
    }
    if !message.is_from_the_business() || alt.kind() == JidKind::Person {
        chat_aliases::add(chat, alt.as_str())?;
        return Ok(());
    }
    match chat_aliases::presumed(tenant.id, alt.as_str())? {
        Some(presumed) if presumed != chat.chat_id => {
            chat_aliases::forget_presumed(tenant.id, alt.as_str())?;
            tenants::learn_own_lid(tenant.id, alt.as_str())?;
        }
        Some(_) => {}
        // Somebody has a chat under this LID: only a customer's message proves it to be this one.
        None if !chat_aliases::are_known(tenant.id, &[alt.as_str().to_owned()])? => {
            chat_aliases::presume(chat, alt.as_str())?;
        }
        None => {}
    }
    Ok(())
}

/// WhatsApp took a message for this chat, whose session the caller has locked, under another JID:
/// whoever has a chat under that is the same person. The chat that is left; None: somebody holds the
/// other one.
pub fn unite(chat: &Chat, jid: &str) -> Result<Option<Chat>> {
    let names = [chat.chat_id.clone(), jid.to_owned()];
    let known = chat_aliases::sessions_of(chat.tenant_id, &names)?;
    let [older, younger] = known.as_slice() else { return Ok(Some(chat.clone())) };
    let named = |chat_id: &String| Chat { tenant_id: chat.tenant_id, chat_id: chat_id.clone() };
    let (older, younger) = (named(older), named(younger));
    for one in [&older, &younger] {
        if sessions::try_lock(one)?.is_none() {
            return Ok(None);
        }
    }
    merge(&older, &younger)?;
    Ok(Some(older))
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
    if let Some(reply) = replies::open_in(younger)? {
        if deliveries::may_have_left(reply.id)? {
            carry_on(older, &reply)?;
        } else {
            give_back(younger, &reply)?;
            consequences::ask_again(older, reply.first_sent_at, reply.created_at)?;
        }
    }
    if younger_session.is_paused {
        consequences::stop_speaking(older, "the chat was paused under its other name", true)?;
    }
    Ok(())
}

/// The reply of a chat that became one with another ends, and its questions are open again.
fn give_back(chat: &Chat, reply: &Reply) -> Result<()> {
    consequences::supersede(chat, "this chat was found to be one with another")?;
    messages::release_questions(chat, reply.id, reply.first_sent_at)
}

/// A part of this answer has left, or may have: its questions are not asked again. The rest of it
/// follows in the chat that is left, and what that was about to answer comes next.
fn carry_on(older: &Chat, reply: &Reply) -> Result<()> {
    let other = replies::open_in(older)?;
    if let Some(other) = &other {
        if deliveries::may_have_left(other.id)? {
            // Two answers are under way: each ends under the name it began with.
            return Ok(());
        }
        give_back(older, other)?;
    }
    replies::move_to(reply.id, older)?;
    deliveries::move_to(reply.id, older)?;
    if let Some(other) = &other {
        questions::want_more(reply.id, other.created_at, other.first_sent_at)?;
    }
    Ok(())
}
