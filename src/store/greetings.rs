//! Table `messages`, asked for words of the owner that nobody types: greetings and away messages that
//! WhatsApp Business sends by itself look exactly like the owner's, but come at once and everywhere.

use chrono::{DateTime, Utc};

use super::chat_aliases::names_of_chat;
use super::{Chat, sql};
use crate::error::Result;

/// In how many other chats of the tenant these words of the owner came within so many seconds after
/// a customer's message or one of ours.
pub fn chats_with_prompt_words(chat: &Chat, words: &str, seconds: f64) -> Result<i64> {
    let chats = sql::query_one(
        "SELECT count(DISTINCT coalesce(a.chat_id, o.chat_id)) \
           FROM whaply.messages o \
           LEFT JOIN whaply.chat_aliases a ON a.tenant_id = o.tenant_id AND a.jid = o.chat_id \
          WHERE o.tenant_id = $1 AND o.sender = 'owner' AND md5(o.text) = md5($3) AND o.text = $3 \
            AND coalesce(a.chat_id, o.chat_id) <> $2 \
            AND EXISTS (SELECT FROM whaply.messages c \
                         WHERE c.tenant_id = o.tenant_id AND c.chat_id = o.chat_id \
                           AND c.sender IN ('customer', 'assistant', 'operator') \
                           AND c.sent_at BETWEEN o.sent_at - make_interval(secs => $4) AND o.sent_at)",
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), words.into(), seconds.into()],
        |row| row.get(1),
    )?;
    Ok(chats.unwrap_or(0))
}

/// Whether a customer wrote in a chat, or we did, at most so many seconds before `at`.
pub fn follows_promptly(chat: &Chat, at: DateTime<Utc>, seconds: f64) -> Result<bool> {
    Ok(sql::query_one(
        concat!(
            "SELECT 1 FROM whaply.messages m \
          WHERE m.tenant_id = $1 AND m.sender IN ('customer', 'assistant', 'operator') \
            AND m.sent_at BETWEEN $3::timestamptz - make_interval(secs => $4) AND $3 \
            AND m.chat_id = ANY ",
            names_of_chat!(),
            " LIMIT 1"
        ),
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            sql::time(at).into(),
            seconds.into(),
        ],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// The owner's last words in a chat, if they were said at `at` or at most so many seconds later.
pub fn words_promptly_after(
    chat: &Chat,
    at: DateTime<Utc>,
    seconds: f64,
) -> Result<Option<String>> {
    sql::query_one(
        concat!(
            "SELECT m.text FROM whaply.messages m \
          WHERE m.tenant_id = $1 AND m.sender = 'owner' AND m.text IS NOT NULL \
            AND m.sent_at BETWEEN $3 AND $3::timestamptz + make_interval(secs => $4) \
            AND m.chat_id = ANY ",
            names_of_chat!(),
            " ORDER BY m.sent_at DESC, m.id DESC LIMIT 1"
        ),
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            sql::time(at).into(),
            seconds.into(),
        ],
        |row| row.get(1),
    )
}

/// Where the owner is believed to have said these words.
pub fn chats_with_words(tenant_id: i32, words: &str) -> Result<Vec<Chat>> {
    sql::query(
        "SELECT DISTINCT coalesce(a.chat_id, o.chat_id)::text \
           FROM whaply.messages o \
           LEFT JOIN whaply.chat_aliases a ON a.tenant_id = o.tenant_id AND a.jid = o.chat_id \
          WHERE o.tenant_id = $1 AND o.sender = 'owner' AND md5(o.text) = md5($2) AND o.text = $2 ORDER BY 1",
        &[tenant_id.into(), words.into()],
        |row| Ok(Chat { tenant_id, chat_id: row.get(1)? }),
    )
}

/// These words of a chat were a machine's: they took nothing over.
pub fn were_automatic(chat: &Chat, words: &str) -> Result<()> {
    sql::execute(
        concat!(
            "WITH machine AS ( \
             UPDATE whaply.messages m SET sender = 'auto_reply' \
              WHERE m.tenant_id = $1 AND m.sender = 'owner' AND md5(m.text) = md5($3) AND m.text = $3 \
                AND m.chat_id = ANY ",
            names_of_chat!(),
            " RETURNING m.message_id) \
         UPDATE whaply.processed_events e SET action_taken = 'ignored_auto_reply' FROM machine \
          WHERE e.tenant_id = $1 AND e.message_id = machine.message_id AND e.event_type = 'messages.upsert' \
            AND e.action_taken = 'paused'"
        ),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), words.into()],
    )?;
    Ok(())
}

/// Words that tenants know to be automatic while messages of the owner still hold them: entered by
/// a person, or learnt while somebody held a chat. The tenant and the words.
pub fn known_but_not_applied() -> Result<Vec<(i32, String)>> {
    sql::query(
        "SELECT DISTINCT t.id, w.words \
           FROM whaply.tenants t CROSS JOIN LATERAL unnest(t.auto_reply_texts) AS w (words) \
           JOIN whaply.messages o ON o.tenant_id = t.id AND o.sender = 'owner' AND md5(o.text) = md5(w.words) \
                AND o.text = w.words \
          WHERE t.home = whaply.home_id()",
        &[],
        |row| Ok((row.get(1)?, row.get(2)?)),
    )
}
