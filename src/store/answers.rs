//! Table `replies`, counted: what the limits on answers are compared with.

use chrono::{DateTime, Utc};

use super::replies::Reply;
use super::sql;
use crate::conversation::loop_guard::Answers;
use crate::error::Result;

/// How many answers a chat, under all its names, and its tenant were given since a time or are about
/// to be, without the reply that asks. A fallback text is one: a machine answers that, too.
pub fn since(reply: &Reply, since: DateTime<Utc>) -> Result<Answers> {
    let answers = sql::query_one(
        "WITH answers AS ( \
             SELECT chat_id FROM whaply.replies WHERE tenant_id = $1 AND answered_at >= $3 AND id <> $4 \
              UNION ALL \
             SELECT chat_id FROM whaply.replies \
              WHERE tenant_id = $1 AND state IN ('generating', 'sending') AND id <> $4 \
                AND (answered_at IS NULL OR answered_at < $3) \
              UNION ALL \
             SELECT r.chat_id FROM whaply.replies r \
              WHERE r.tenant_id = $1 AND r.state = 'failed' AND r.finished_at >= $3 AND r.id <> $4 \
                AND (r.answered_at IS NULL OR r.answered_at < $3) \
                AND EXISTS (SELECT FROM whaply.deliveries d WHERE d.reply_id = r.id AND d.kind = 'fallback')) \
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
