//! Table `replies`, counted: what the limits on answers are compared with.

use std::collections::HashMap;

use chrono::Duration;

use super::replies::Reply;
use super::sql;
use crate::conversation::loop_guard::Answers;
use crate::error::Result;

/// Whether a failed reply `r` has sent the tenant's words for a failure.
macro_rules! had_a_fallback {
    () => {
        "EXISTS (SELECT FROM whaply.deliveries d WHERE d.reply_id = r.id AND d.kind = 'fallback')"
    };
}

/// How many answers the chats, under all their names, and the tenants of these replies, which wait, were
/// given in a window before now or are about to be. A fallback text is one: a machine answers that, too.
pub fn given(replies: &[(&Reply, Duration)]) -> Result<HashMap<i64, Answers>> {
    let counted = sql::query_by_index(
        concat!(
            "WITH asked AS MATERIALIZED ( \
             SELECT q.*, clock_timestamp() - make_interval(secs => q.seconds) AS since \
               FROM unnest($1, $2, $3, $4) AS q (reply_id, tenant_id, chat_id, seconds)), \
         of_tenants AS MATERIALIZED ( \
             SELECT t.tenant_id, \
                    (SELECT count(*) FROM whaply.replies r WHERE r.tenant_id = t.tenant_id AND r.answered_at >= t.since) \
                  + (SELECT count(*) FROM whaply.replies r \
                      WHERE r.tenant_id = t.tenant_id AND r.state IN ('generating', 'sending') \
                        AND (r.answered_at IS NULL OR r.answered_at < t.since)) \
                  + (SELECT count(*) FROM whaply.replies r \
                      WHERE r.tenant_id = t.tenant_id AND r.state = 'failed' AND r.finished_at >= t.since \
                        AND (r.answered_at IS NULL OR r.answered_at < t.since) AND ",
            had_a_fallback!(),
            ") AS answers \
               FROM (SELECT tenant_id, min(since) AS since FROM asked GROUP BY tenant_id) AS t) \
         SELECT q.reply_id, \
                (SELECT count(*) FROM (SELECT q.chat_id AS jid UNION SELECT a.jid FROM whaply.chat_aliases a \
                                        WHERE a.tenant_id = q.tenant_id AND a.chat_id = q.chat_id) AS n \
                   JOIN whaply.replies r ON r.tenant_id = q.tenant_id AND r.chat_id = n.jid \
                  WHERE r.answered_at >= q.since OR r.state IN ('generating', 'sending') \
                     OR (r.state = 'failed' AND r.finished_at >= q.since AND ",
            had_a_fallback!(),
            ")), t.answers FROM asked q JOIN of_tenants t ON t.tenant_id = q.tenant_id"
        ),
        &[
            sql::array(replies.iter().map(|(reply, _)| reply.id)),
            sql::array(replies.iter().map(|(reply, _)| reply.chat.tenant_id)),
            sql::array(replies.iter().map(|(reply, _)| reply.chat.chat_id.clone())),
            sql::array(replies.iter().map(|(_, window)| sql::seconds(*window))),
        ],
        |row| Ok((row.get::<i64>(1)?, Answers { of_chat: row.get(2)?, of_tenant: row.get(3)? })),
    )?;
    Ok(counted.into_iter().collect())
}
