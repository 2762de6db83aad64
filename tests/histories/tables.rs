//! Reads what the tables say of a history into the ledgers of its chats. It changes nothing.

use std::collections::BTreeMap;

use postgres::{Client, Row};

use super::ledger::{Chat, DeliveryRow, EventRow, MessageRow, ReplyRow, Rows, SessionRow};
use super::world::World;

/// Fills in the rows of one tenant's chats, which are given in the order of the customers. The error
/// names a row that belongs to nobody.
pub fn fill_in(client: &mut Client, tenant_id: i32, chats: &mut [Chat]) -> Result<(), String> {
    let mut ask =
        |sql: &str| client.query(sql, &[&tenant_id]).map_err(|error| format!("{sql}\n{error:?}"));
    let sessions = ask("SELECT s.chat_id::text, s.is_paused, s.pause_reason::text
                          FROM whaply.sessions s
                         WHERE s.tenant_id = $1 AND NOT EXISTS (
                               SELECT FROM whaply.chat_aliases a
                                WHERE a.tenant_id = s.tenant_id AND a.jid = s.chat_id)
                         ORDER BY s.id")?;
    for row in &sessions {
        rows_of(chats, row)?.sessions.push(SessionRow {
            chat_id: row.get(0),
            is_paused: row.get(1),
            pause_reason: row.get(2),
        });
    }
    for row in &ask("SELECT chat_id::text, * FROM whaply.replies WHERE tenant_id = $1 ORDER BY id")?
    {
        rows_of(chats, row)?.replies.push(reply(row));
    }
    for row in
        &ask("SELECT chat_id::text, * FROM whaply.deliveries WHERE tenant_id = $1 ORDER BY id")?
    {
        rows_of(chats, row)?.deliveries.push(delivery(row));
    }
    let mut chat_of_message = BTreeMap::new();
    let messages = ask("SELECT chat_id::text, message_id::text, from_me, sender, reply_id
                          FROM whaply.messages WHERE tenant_id = $1 ORDER BY sent_at, id")?;
    for row in &messages {
        let message = MessageRow {
            message_id: row.get(1),
            from_me: row.get(2),
            sender: row.get(3),
            reply_id: row.get(4),
        };
        // An edit or deletion of a message that never came has no chat.
        if !row.get::<_, String>(0).is_empty() {
            chat_of_message.insert(message.message_id.clone(), row.get::<_, String>(0));
            rows_of(chats, row)?.messages.push(message);
        }
    }
    let events = ask("SELECT message_id::text, event_type::text, coalesce(action_taken, '')::text
                        FROM whaply.processed_events WHERE tenant_id = $1 ORDER BY id")?;
    for row in &events {
        let event = EventRow { message_id: row.get(0), event: row.get(1), action: row.get(2) };
        let chat_id = chat_of_message.get(&event.message_id);
        let customer = chat_id.and_then(|chat_id| World::customer_of(chat_id));
        if let Some(chat) = customer.and_then(|customer| chats.get_mut(customer)) {
            chat.rows.events.push(event);
        }
    }
    Ok(())
}

/// The rows of the chat that a row's first column names.
fn rows_of<'a>(chats: &'a mut [Chat], row: &Row) -> Result<&'a mut Rows, String> {
    let chat_id: String = row.get(0);
    let chat = World::customer_of(&chat_id).and_then(|customer| chats.get_mut(customer));
    chat.map(|chat| &mut chat.rows).ok_or_else(|| format!("whose chat is {chat_id}?"))
}

fn reply(row: &Row) -> ReplyRow {
    ReplyRow {
        id: row.get("id"),
        state: row.get("state"),
        requeues: row.get("requeues"),
        error: row.get("error"),
        text: row.get("text"),
    }
}

fn delivery(row: &Row) -> DeliveryRow {
    DeliveryRow {
        id: row.get("id"),
        reply_id: row.get("reply_id"),
        kind: row.get("kind"),
        part: row.get("part"),
        text: row.get("text"),
        state: row.get("state"),
        attempt: row.get("attempt"),
        attempted_at: row.get("attempted_at"),
        message_id: row.get("message_id"),
        error: row.get("error"),
    }
}
