//! Table `deliveries`, asked for messages that carry no id yet: whose words are on their way, or were
//! given up although they may have left.

use chrono::{DateTime, Utc};

use super::chat_aliases::names_of_chat;
use super::deliveries::{self, Delivery, delivery_columns};
use super::{Chat, sql};
use crate::error::Result;

/// Whether a call with these words has not ended in this chat.
pub fn is_in_flight(chat: &Chat, text: &str) -> Result<bool> {
    Ok(sql::query_one(
        concat!(
            "SELECT 1 FROM whaply.deliveries \
          WHERE tenant_id = $1 AND state IN ('sending', 'uncertain') AND text = $3 \
            AND chat_id = ANY ",
            names_of_chat!()
        ),
        &[chat.tenant_id.into(), chat.chat_id.as_str().into(), text.into()],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// Whether a call with these words has not ended in any chat of the tenant.
pub fn is_in_flight_somewhere(tenant_id: i32, text: &str) -> Result<bool> {
    Ok(sql::query_one(
        "SELECT 1 FROM whaply.deliveries \
          WHERE tenant_id = $1 AND state IN ('sending', 'uncertain') AND text = $2 LIMIT 1",
        &[tenant_id.into(), text.into()],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// A delivery of these words that was attempted between these times and then given up without an id:
/// its echo may still come. The newest, in the chat under the name it has today.
pub fn given_up(
    chat: &Chat,
    text: &str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Delivery>> {
    let delivery = sql::query_one(
        concat!(
            "SELECT ",
            delivery_columns!(""),
            " FROM whaply.deliveries \
          WHERE tenant_id = $1 AND state = 'failed' AND message_id IS NULL AND text = $3 \
            AND chat_id = ANY ",
            names_of_chat!(),
            " AND attempted_at BETWEEN $4 AND $5 ORDER BY id DESC LIMIT 1"
        ),
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            text.into(),
            sql::time(since).into(),
            sql::time(until).into(),
        ],
        deliveries::read,
    )?;
    Ok(delivery.map(|delivery| Delivery { chat: chat.clone(), ..delivery }))
}
