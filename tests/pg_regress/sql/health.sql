-- Guards view health as to tenants and chats: a row for each thing that needs a person, with what to do and how bad it is;
-- none where nothing does. As to the server and its work: findings.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, evo_api_key, llm_api_key, webhook_secret)
VALUES ('loja', 'http://127.0.0.1:1', 's3cret-1', 's3cret-2', 's3cret-3'), ('outra', 'http://127.0.0.1:1', NULL, NULL, 's3cret-4');
SELECT id AS loja FROM whaply.tenants WHERE instance_name = 'loja' \gset
SELECT id AS outra FROM whaply.tenants WHERE instance_name = 'outra' \gset
-- The worker notes what other tests were refused: not now.
LOCK TABLE whaply.refused_webhooks IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM whaply.refused_webhooks;
-- Whether the worker of this database has started by now is not this test's matter.
CREATE TEMP VIEW problem AS SELECT * FROM whaply.health WHERE subject <> 'worker' ORDER BY subject, instance_name, problem;
SELECT * FROM problem;

-- The owner's words so many seconds after a customer's, in a chat.
CREATE FUNCTION pg_temp.greeting(tenant integer, chat text, words text, seconds integer, after text DEFAULT 'customer',
                                 age interval DEFAULT '0') RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, sender, sent_at, created_at)
    VALUES (tenant, chat, format('%s %s 1', chat, words), after <> 'customer', 'Oi', after,
            now() - age - interval '1 minute', now() - age),
           (tenant, chat, format('%s %s 2', chat, words), true, words, 'owner',
            now() - age - interval '1 minute' + seconds * interval '1 second', now() - age)
$$;

-- Words within 10 s in one chat are the owner's; in a second chat a person is asked.
SELECT pg_temp.greeting(:loja, 'a', 'Olá! Já respondemos.', 2);
SELECT * FROM problem;
SELECT pg_temp.greeting(:loja, 'b', 'Olá! Já respondemos.', 10, after => 'assistant');
SELECT * FROM problem;
-- The other tenant has its own greetings.
SELECT pg_temp.greeting(:outra, 'a', 'Olá! Já respondemos.', 2);
-- What is said later than that, only once, twice in one chat, or long ago is not asked about.
SELECT pg_temp.greeting(:loja, 'a', 'Tudo bem?', 11), pg_temp.greeting(:loja, 'b', 'Tudo bem?', 30),
       pg_temp.greeting(:loja, 'c', 'Sim', 1), pg_temp.greeting(:loja, 'd', 'Sim', 30),
       pg_temp.greeting(:loja, 'phone', 'Um momento', 1), pg_temp.greeting(:loja, 'lid', 'Um momento', 1),
       pg_temp.greeting(:loja, 'a', 'Feliz Natal', 1, age => '31 days'), pg_temp.greeting(:loja, 'b', 'Feliz Natal', 1, age => '31 days');
INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES (:loja, 'lid', 'phone');
SELECT instance_name, subject, problem FROM problem;
-- What it says to do ends it.
SELECT substr(what_to_do, length('if so: ') + 1) AS statement FROM problem \gexec
SELECT auto_reply_texts FROM whaply.tenants WHERE id = :loja;
SELECT * FROM problem;
-- A long one is cut where it is shown, and whole where it is used.
SELECT pg_temp.greeting(:loja, 'a', repeat('É o Zé''s. ', 10), 1), pg_temp.greeting(:loja, 'b', repeat('É o Zé''s. ', 10), 1);
SELECT * FROM problem;
SELECT substr(what_to_do, length('if so: ') + 1) AS statement FROM problem \gexec
SELECT * FROM problem;

-- Chats that got too many answers, as long as they are paused for it.
INSERT INTO whaply.sessions (tenant_id, chat_id, is_paused, pause_reason, paused_until)
VALUES (:loja, 'robot', true, 'loop_guard', now() + interval '1 hour'), (:loja, 'robot 2', true, 'loop_guard', now() + interval '1 hour'),
       (:outra, 'over', true, 'loop_guard', now() - interval '1 second'), (:outra, 'ended', false, NULL, NULL);
SELECT * FROM problem;
DELETE FROM whaply.sessions;

-- Messages that may be of another chat, of a day.
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender, created_at)
VALUES (:loja, 'a', 'U1', 'Oi?', 'unverified', now() - interval '23 hours'), (:loja, 'b', 'U2', 'Alô?', 'unverified', now()),
       (:outra, 'a', 'U3', 'Oi?', 'unverified', now() - interval '25 hours');
SELECT * FROM problem;
DELETE FROM whaply.messages;

-- Posts that were turned away, of a day: whose, why, and what to do.
INSERT INTO whaply.refused_webhooks (tenant_id, reason, refused, first_at, last_at)
SELECT tenant, reason, 2, '2026-01-02 03:04', now() FROM (VALUES
    (:loja, 'wrong_secret'), (:loja, 'no_secret'), (:loja, 'expired_token'), (:loja, 'too_large'), (:loja, 'too_fast'),
    (NULL, 'unknown_instance'), (NULL, 'too_large'), (NULL, 'invalid')) AS refused (tenant, reason);
UPDATE whaply.refused_webhooks SET refused = 1 WHERE reason = 'invalid';
INSERT INTO whaply.refused_webhooks (tenant_id, reason, refused, last_at)
VALUES (:outra, 'wrong_secret', 5, now() - interval '24 hours 1 second');
SELECT instance_name, replace(problem, to_char(now(), 'YYYY-MM-DD HH24:MI'), 'NOW') AS problem, what_to_do FROM problem;
DELETE FROM whaply.refused_webhooks;

-- The line, the copy, the failures, the secret.
INSERT INTO whaply.sessions (tenant_id, chat_id) VALUES (:loja, 'a');
UPDATE whaply.tenants SET connection_state = 'close' WHERE id = :loja;
UPDATE whaply.tenants SET home = 'elsewhere', webhook_secret = NULL WHERE id = :outra;
INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, finished_at, error)
VALUES (:loja, 'a', 'failed', now(), now(), now() - interval '2 hours', 'no such model'),
       (:loja, 'a', 'failed', now(), now(), now() - interval '1 hour', 'no such key'),
       (:loja, 'a', 'failed', now(), now(), now() - interval '25 hours', 'long ago');
INSERT INTO whaply.deliveries (tenant_id, chat_id, kind, text, state, error, finished_at)
VALUES (:loja, 'a', 'reply', 'Oi', 'failed', 'no such number', now()), (:loja, 'a', 'reply', 'Oi', 'failed', 'long ago', now() - interval '25 hours'),
       (:loja, 'a', 'reply', 'Oi', 'uncertain', 'Evolution shows no trace of it', NULL);
SELECT * FROM problem;
SELECT count(*) AS tells_a_secret FROM problem WHERE problem::text ~ 's3cret';

ROLLBACK;
