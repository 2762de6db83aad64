//! Table `messages`, asked for customers of whom Evolution may name the wrong one: on the Cloud API two
//! webhooks of Meta at the same moment can exchange their senders.

use chrono::{DateTime, Utc};

use super::chat_aliases::names_of_chat;
use super::{Chat, sql};
use crate::error::Result;

/// Webhooks of Meta can exchange their senders when they come so close to each other.
const AT_ONCE_SECONDS: f64 = 10.0;

/// The questions that a reply has claimed and whose sender only Evolution tells, as the id alone may
/// show (Cloud API): their ids, and when they arrived.
pub fn claimed_of_the_cloud_api(
    chat: &Chat,
    reply_id: i64,
    since: DateTime<Utc>,
) -> Result<Vec<(String, DateTime<Utc>)>> {
    sql::query(
        concat!(
            "SELECT m.message_id::text, m.created_at FROM whaply.messages m \
          WHERE m.tenant_id = $1 AND m.sent_at >= $4 AND m.sender = 'customer' AND m.reply_id = $3 \
            AND m.message_id LIKE 'wamid.%' AND m.deleted_at IS NULL \
            AND m.chat_id = ANY ",
            names_of_chat!(),
            " ORDER BY m.id"
        ),
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            reply_id.into(),
            sql::time(since).into(),
        ],
        |row| Ok((row.get(1)?, row.time(2)?)),
    )
}

/// Whether a customer of the Cloud API wrote in another chat of the tenant so close to `at`.
pub fn another_customer_wrote(chat: &Chat, at: DateTime<Utc>) -> Result<bool> {
    Ok(sql::query_one(
        concat!("SELECT 1 FROM whaply.messages m \
          WHERE m.tenant_id = $1 AND m.sender IN ('customer', 'unverified') AND m.message_id LIKE 'wamid.%' \
            AND m.created_at BETWEEN $3::timestamptz - make_interval(secs => $4) \
                                 AND $3::timestamptz + make_interval(secs => $4) \
            AND m.chat_id <> ALL ", names_of_chat!(), " LIMIT 1"),
        &[
            chat.tenant_id.into(),
            chat.chat_id.as_str().into(),
            sql::time(at).into(),
            AT_ONCE_SECONDS.into(),
        ],
        |row| row.get::<i32>(1),
    )?
    .is_some())
}

/// A question that was claimed is no question any more: nobody knows whose it is.
pub fn leave_unverified(tenant_id: i32, message_id: &str) -> Result<()> {
    sql::execute(
        "UPDATE whaply.messages SET sender = 'unverified', reply_id = NULL WHERE tenant_id = $1 AND message_id = $2",
        &[tenant_id.into(), message_id.into()],
    )?;
    Ok(())
}
