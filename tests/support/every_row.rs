//! A row in every table of whaply, in every state in which a version leaves them; and all that a database
//! holds, to be compared. It plays nothing.

use serde_json::Value;

use crate::database::Database;

/// The released versions and the current one, each with the rows that only it and those after it can have.
const ROWS: [(&str, &str); 4] = [
    ("0.1.0", ROWS_OF_0_1_0),
    ("0.2.0", ROWS_SINCE_0_2_0),
    ("0.3.0", ROWS_SINCE_0_3_0),
    ("0.4.0", ROWS_SINCE_0_4_0),
];

const ROWS_OF_0_1_0: &str = "
    INSERT INTO whaply.tenants (instance_name, evo_server_url, mode, test_chats, debounce, auto_reply_texts)
    VALUES ('loja', 'http://127.0.0.1:1', 'draft', '{5511999990001}', '7 s', '{Bom dia!}'),
           ('outra', 'http://127.0.0.1:1', 'off', NULL, NULL, NULL);
    INSERT INTO whaply.sessions (tenant_id, chat_id, is_paused, pause_reason, last_human_at, paused_until, contact_name)
    VALUES (1, 'open', false, NULL, NULL, NULL, 'Maria'),
           (1, 'taken', true, 'human_takeover', now(), NULL, 'Zé'),
           (1, 'held', true, 'manual_pause', NULL, NULL, NULL),
           (1, 'failed', true, 'ai_failed', NULL, now() + interval '1 hour', NULL),
           (2, 'other', false, NULL, NULL, NULL, 'João');
    INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES (1, '100000000000001@lid', 'open');
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, raw, sender, status, deleted_at)
    SELECT 1, 'open', 'M-' || sender, sender <> 'customer', 'Olá', '{\"event\": \"messages.upsert\"}'::jsonb, sender, 'READ', NULL
      FROM unnest('{customer,owner,assistant,operator,other,auto_reply}'::text[]) AS sender
    UNION ALL SELECT 1, 'open', 'M-early', false, NULL, NULL, NULL, NULL, now()
    UNION ALL SELECT 2, 'other', 'M-other', false, 'Só da outra', NULL, 'customer', NULL, NULL;
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
    SELECT tenant_id, message_id, 'messages.upsert', 'ai_queued' FROM whaply.messages;
    INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, text, answered_at)
    SELECT 1, 'open', state, now(), now(), 'Sim', now()
      FROM unnest('{waiting,sent,drafted,superseded,cancelled,failed}'::text[]) AS state;
    INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state, message_id)
    SELECT 1, 'open', 2, 'reply', 'Sim', state, 'D-' || state
      FROM unnest('{pending,uncertain,sent,cancelled,failed}'::text[]) AS state";

const ROWS_SINCE_0_2_0: &str = "
    UPDATE whaply.tenants SET answers_per_chat = 12, answers_per_tenant = 0, answer_window = '20 minutes',
           resume_word = '#volta', answer_after_pause = true, on_unverified = 'answer',
           own_lids = '{100000000000009@lid}' WHERE id = 1;
    UPDATE whaply.sessions SET steered_at = now() WHERE chat_id = 'held';
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, sender)
    VALUES (1, 'open', 'M-command', true, '#bot', 'command'), (1, 'open', 'M-unverified', false, 'Eu?', 'unverified')";

const ROWS_SINCE_0_3_0: &str = "
    UPDATE whaply.tenants SET webhook_secret = 'another', webhook_jwt_key = 'jwt' WHERE id = 1;
    INSERT INTO whaply.refused_webhooks (tenant_id, reason, refused) VALUES (1, 'wrong_secret', 2), (NULL, 'invalid', 7);
    INSERT INTO whaply.connect_requests (tenant_id, webhook_url, state, finished_at)
    VALUES (1, 'http://127.0.0.1:1/webhook', 'connected', now())";

const ROWS_SINCE_0_4_0: &str = "
    UPDATE whaply.tenants SET llm_api_key = 'env:KEY_OF_THE_SHOP' WHERE id = 2;
    SELECT whaply.grant_access('pg_monitor', 'operator', 'loja') -- a role of every server";

/// The versions that there are rows of, the current one last.
pub fn versions() -> Vec<&'static str> {
    ROWS.iter().map(|(version, _)| *version).collect()
}

/// Fills every table of a database that has this version, and whose worker is stopped: it would work on
/// what is open.
#[track_caller]
pub fn fill(db: &Database, version: &str) {
    let last = ROWS.iter().position(|(of, _)| *of == version);
    let last = last.unwrap_or_else(|| panic!("no rows of {version}"));
    ROWS.iter().take(last + 1).for_each(|(_, rows)| db.execute(rows));
    let all = contents(db);
    let empty: Vec<_> = all.iter().filter(|(_, rows)| rows.is_empty()).collect();
    assert!(empty.is_empty(), "every table has rows: {empty:?}");
}

/// Every row of every table of the extension, and where its sequences stand. But for `findings`: they are
/// what a worker finds now, and another worker begins with its own.
#[track_caller]
pub fn contents(db: &Database) -> Vec<(String, Vec<Value>)> {
    let members: Vec<String> = db.column(
        "SELECT c.oid::regclass::text FROM pg_extension x, unnest(x.extconfig) AS member (id)
           JOIN pg_class c ON c.oid = member.id
          WHERE x.extname = 'whaply' AND c.relname <> 'findings' ORDER BY 1",
        &[],
    );
    let rows = |member: String| {
        // Only these columns of a sequence are its state; a table has no such names.
        let columns = if member.ends_with("_seq") { "last_value, is_called" } else { "*" };
        let sql =
            format!("SELECT to_jsonb(r) FROM (SELECT {columns} FROM {member}) r ORDER BY r::text");
        let rows = db.column(&sql, &[]);
        (member, rows)
    };
    members.into_iter().map(rows).collect()
}

/// Panics at the first table that differs.
#[track_caller]
pub fn assert_same_contents(ours: &[(String, Vec<Value>)], expected: &[(String, Vec<Value>)]) {
    for ((member, rows), (_, wanted)) in ours.iter().zip(expected) {
        assert_eq!(rows, wanted, "{member}");
    }
    assert_eq!(ours.len(), expected.len());
}
