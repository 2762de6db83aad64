//! Many customers who have asked already, as rows: what the worker finds due when it looks. It sends no
//! webhooks and waits for nothing.

use crate::database::Database;

const QUESTIONS: &str = "
    WITH chats AS (
        INSERT INTO whaply.sessions (tenant_id, chat_id, reply_jid)
        SELECT $1, jid, jid FROM (SELECT 5511990000000 + n || '@s.whatsapp.net' FROM generate_series(1, $2) AS n) AS c (jid)
        RETURNING tenant_id, chat_id),
    questions AS (
        INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender)
        SELECT tenant_id, chat_id, 'ASKED-' || chat_id, 'Abrem hoje?', 'customer' FROM chats
        RETURNING tenant_id, message_id),
    events AS (
        INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
        SELECT tenant_id, message_id, 'messages.upsert', 'ai_queued' FROM questions)
    INSERT INTO whaply.replies (tenant_id, chat_id, due_at, first_sent_at)
    SELECT tenant_id, chat_id, now(), now() FROM chats";

/// So many of a tenant's customers have asked, each in a chat of their own, and every answer is due now.
#[track_caller]
pub fn customers_have_asked(db: &Database, tenant_id: i32, customers: i32) {
    db.rows(QUESTIONS, &[&tenant_id, &customers]);
}
