//! Table `replies`, counted: what the limits on answers are compared with.

use chrono::{DateTime, Utc};

use super::replies::Reply;
use super::sql;
use crate::conversation::loop_guard::Answers;
use crate::error::Result;

/// How many answers a chat, under all its names, and its tenant were given since a time or are about
/// to be, without the reply that asks.
pub fn since(reply: &Reply, since: DateTime<Utc>) -> Result<Answers> {
    let answers = sql::query_one(
        "WITH answers AS ( \
             SELECT chat_id FROM whaply.replies WHERE tenant_id = $1 AND answered_at >= $3 AND id <> $4 \
              UNION ALL \
             SELECT chat_id FROM whaply.replies \
              WHERE tenant_id = $1 AND state IN ('generating', 'sending') AND id <> $4 \
                AND (answered_at IS NULL OR answered_at < $3)) \
         SELECT count(*) FILTER (WHERE chat_id IN ( \
                    SELECT $2 UNION ALL SELECT a.jid FROM whaply.chat_aliases a \
                     WHERE a.tenant_id = $1 AND a.chat_id = $2)), \
                count(*) \
           FROM answers",
        &[
            reply.chat.tenant_id.into(),
            reply.chat.chat_id.as_str().into(),
            sql::time(since).into(),
            reply.id.into(),
        ],
        |row| Ok(Answers { of_chat: row.get(1)?, of_tenant: row.get(2)? }),
    )?;
    Ok(answers.unwrap_or_default())
}
