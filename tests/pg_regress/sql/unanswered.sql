-- Guards view unanswered_chats: who waits, since which question, and what is no answer to it.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1')
RETURNING id AS loja \gset
CREATE TEMP TABLE setting AS SELECT :loja::integer AS loja;

-- A message as it lies in the table, said so many minutes ago; with what was done about it.
CREATE FUNCTION pg_temp.said(chat text, sender text, minutes_ago integer, text text, action text DEFAULT NULL,
                             kind text DEFAULT NULL, state text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    loja integer := (SELECT s.loja FROM setting s);
    message_id text := format('%s %s', chat, text);
    reply bigint;
BEGIN
    INSERT INTO whaply.sessions (tenant_id, chat_id, contact_name) VALUES (loja, chat, 'Maria') ON CONFLICT DO NOTHING;
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, sent_at, sender)
    VALUES (loja, chat, message_id, sender NOT IN ('customer', 'unverified'), text, now() - minutes_ago * interval '1 minute',
            sender);
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
    SELECT loja, message_id, 'messages.upsert', action WHERE action IS NOT NULL;
    IF kind IS NOT NULL THEN
        INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at) VALUES (loja, chat, state, now(), now())
        RETURNING id INTO reply;
        INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state, message_id)
        VALUES (loja, chat, reply, kind, text, 'sent', message_id);
    END IF;
END
$$;

-- The first question after the business's last word counts, whoever of it spoke.
SELECT pg_temp.said('two questions', 'customer', 30, 'first', 'ignored_paused'),
       pg_temp.said('two questions', 'customer', 20, 'second', 'ignored_paused'),
       pg_temp.said('two questions', 'customer', 19, 'a sticker', 'ignored_type');
SELECT count(pg_temp.said('after ' || sender, 'customer', 100, 'before', 'cancelled_paused'))
           + count(pg_temp.said('after ' || sender, sender, 90, 'the word'))
           + count(pg_temp.said('after ' || sender, 'customer', 40, 'after', 'ignored_paused')) AS said
  FROM unnest('{assistant,owner,operator,other}'::text[]) AS sender;
SELECT count(pg_temp.said('answered by ' || sender, 'customer', 100, 'asked', 'cancelled_paused'))
           + count(pg_temp.said('answered by ' || sender, sender, 90, 'the word')) AS said
  FROM unnest('{assistant,owner,operator,other}'::text[]) AS sender;
-- Within one second, which is all that WhatsApp's clock tells, the order of arrival decides.
SELECT pg_temp.said('same second', 'owner', 15, 'the word'), pg_temp.said('same second', 'customer', 15, 'at once', 'ignored_paused');
SELECT pg_temp.said('same second, answered', 'customer', 15, 'asked', 'ignored_paused'),
       pg_temp.said('same second, answered', 'owner', 15, 'the word');

-- No words of the business: a machine's greeting, the owner's command, what may be of another chat,
-- and what was deleted for everyone.
SELECT count(pg_temp.said('despite ' || sender, 'customer', 100, 'asked', 'ignored_paused'))
           + count(pg_temp.said('despite ' || sender, sender, 90, 'no word')) AS said
  FROM unnest('{auto_reply,command}'::text[]) AS sender;
SELECT pg_temp.said('unverified', 'unverified', 80, 'whose is it?', 'ignored_unverified');
SELECT pg_temp.said('word deleted', 'customer', 70, 'asked', 'ignored_paused'), pg_temp.said('word deleted', 'owner', 69, 'deleted'),
       pg_temp.said('question deleted', 'customer', 70, 'deleted', 'ignored_paused');
UPDATE whaply.messages SET deleted_at = now() WHERE text = 'deleted';

-- No answers: the fallback text, and parts of a reply that did not come to its end.
SELECT count(pg_temp.said(kind || ' of ' || state, 'customer', 60, 'asked', 'ai_failed'))
           + count(pg_temp.said(kind || ' of ' || state, 'assistant', 59, 'sent', kind => kind, state => state)) AS said
  FROM (VALUES ('fallback', 'failed'), ('reply', 'failed'), ('reply', 'cancelled'), ('reply', 'sent')) AS turns (kind, state);

-- Every reason for which nobody answers, and one where somebody does.
SELECT count(pg_temp.said(action, 'customer', 50, 'asked', action)) AS said
  FROM unnest('{ignored_paused,cancelled_paused,ai_failed,drafted,ignored_mode,ignored_unverified,ai_replied,ignored_old}'::text[])
       AS action;
-- The assistant is about to answer what it was asked meanwhile.
SELECT pg_temp.said('about to be answered', 'customer', 50, 'asked', 'ignored_paused');
INSERT INTO whaply.replies (tenant_id, chat_id, due_at, first_sent_at) VALUES (:loja, 'about to be answered', now(), now());

-- One chat under two names: answered under the other one; asked under both.
SELECT pg_temp.said('phone', 'customer', 10, 'asked', 'ignored_paused'), pg_temp.said('lid', 'owner', 9, 'the word'),
       pg_temp.said('phone 2', 'customer', 8, 'asked by phone', 'ignored_paused'),
       pg_temp.said('lid 2', 'customer', 110, 'asked by LID', 'ignored_paused');
INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES (:loja, 'lid', 'phone'), (:loja, 'lid 2', 'phone 2');

UPDATE whaply.sessions SET is_paused = true, pause_reason = 'human_takeover' WHERE chat_id = 'two questions';
SELECT instance_name, chat_id, contact_name, is_paused, pause_reason, now() - asked_at AS asked, waiting_for, text, questions
  FROM whaply.unanswered_chats ORDER BY asked_at, chat_id COLLATE "C";
-- The view's own order: the longest wait first.
SELECT bool_and(waiting_for <= before) AS longest_first
  FROM (SELECT waiting_for, lag(waiting_for) OVER () AS before FROM whaply.unanswered_chats) AS listed;

ROLLBACK;
