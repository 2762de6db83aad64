-- Guards pausing and resuming by SQL: who ends which pause, chats named in any writing, and the
-- views that show whose turn it is.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url)
VALUES ('loja', 'http://127.0.0.1:1'), ('outra', 'http://127.0.0.1:1');
SELECT id AS loja FROM whaply.tenants WHERE instance_name = 'loja' \gset
CREATE TEMP VIEW chat AS
SELECT t.instance_name, s.chat_id, story.session(s.chat_id, t.instance_name) AS session,
       s.paused_until - now() BETWEEN interval '0' AND interval '1 hour 1 minute' AS ends_within_the_hour
  FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id;

-- A manual pause cancels the open reply; resuming revives neither it nor what was asked meanwhile.
SELECT * FROM story.tell(story.message('A1', 'Tem bolo?'));
SELECT whaply.pause_session('loja', '5511999990001@s.whatsapp.net');
SELECT whaply.pause_session('loja', '5511999990001@s.whatsapp.net') AS again;
SELECT * FROM story.tell(story.message('A2', 'Alô?'));
SELECT instance_name, chat_id, contact_name, is_paused, pause_reason, text FROM whaply.unanswered_chats ORDER BY chat_id;
SELECT whaply.resume_session('loja', '5511999990001@s.whatsapp.net');
SELECT whaply.resume_session('loja', '5511999990001@s.whatsapp.net') AS again;
SELECT * FROM chat ORDER BY chat_id;
SELECT instance_name, chat_id, is_paused, text FROM whaply.unanswered_chats ORDER BY chat_id;
SELECT message_id, action_taken FROM whaply.processed_events ORDER BY id;
-- The next question is the assistant's again, and the chat no longer waits.
SELECT * FROM story.tell(story.message('A3', 'E torta?'));
SELECT count(*) AS unanswered FROM whaply.unanswered_chats;

-- One chat, however a person writes its number; the LID too, once the chat is known by it.
SELECT * FROM story.tell(story.message('A4', alt => '100000000000001@lid'));
SELECT writing, whaply.pause_session('loja', writing, 'writing ' || place) AS changed
  FROM unnest('{5511999990001@s.whatsapp.net,5511999990001,+55 (11) 99999-0001,0055 11 99999 0001,551199990001,
                +55 11 9999-0001,5511999990001@c.us,5511999990001:12@s.whatsapp.net,100000000000001@lid}'::text[])
       WITH ORDINALITY AS writings (writing, place)
 ORDER BY place;
SELECT * FROM chat ORDER BY chat_id;
SELECT whaply.resume_session('loja', '100000000000001@lid');
SELECT writing, error.*
  FROM unnest('{maria,12,"",loja@example.com}'::text[]) AS writing,
       LATERAL story.error_of(format('SELECT whaply.pause_session(%L, %L)', 'loja', writing)) AS error
 ORDER BY writing;

-- A block list is one SELECT: chats never seen begin paused, whichever of its two numbers a phone
-- then writes from.
SELECT count(*) FILTER (WHERE whaply.pause_session('loja', number, 'blocked')) AS blocked
  FROM unnest('{+55 11 98888-0001,+55 11 98888-0002}'::text[]) AS number;
SELECT * FROM story.tell(story.message('B1', jid => '551188880001@s.whatsapp.net'));
SELECT * FROM story.tell(story.message('B2', jid => '5511988880001@s.whatsapp.net'));

-- A hold is a person's: neither silence nor the owner's own message changes it.
SELECT * FROM story.tell(story.message('B3', from_me => true, jid => '5511988880002@s.whatsapp.net'));
UPDATE whaply.sessions SET last_human_at = now() - interval '9 days';
SELECT whaply.auto_resume_paused_sessions(1);
SELECT * FROM chat ORDER BY chat_id;
SELECT whaply.resume_sessions('loja', 'blocked');
SELECT whaply.resume_sessions('loja', 'blocked') AS again;
SELECT * FROM chat ORDER BY chat_id;

-- A pause for a time ends by itself and not before; another end is a change.
SELECT whaply.pause_session('loja', '5511999990001', 'lunch', '1 hour');
SELECT whaply.pause_session('loja', '5511999990001', 'lunch', '30 minutes') AS shortened;
SELECT * FROM chat WHERE session LIKE 'paused%' ORDER BY chat_id;
SELECT whaply.auto_resume();
UPDATE whaply.sessions SET paused_until = now() - interval '1 second' WHERE paused_until IS NOT NULL;
SELECT chat_id, pause_reason FROM whaply.resumable_sessions ORDER BY chat_id;
SELECT whaply.auto_resume();
SELECT * FROM chat WHERE session LIKE 'paused%' ORDER BY chat_id;

-- A takeover ends by silence, by each tenant's own measure; without one by the setting (2 h).
SELECT instance, told.action, told.session
  FROM unnest('{loja,outra}'::text[]) AS instance,
       LATERAL story.tell(story.message('C-' || instance, from_me => true, jid => '5511999990003@s.whatsapp.net',
                                        instance => instance)) AS told
 ORDER BY instance;
UPDATE whaply.sessions SET last_human_at = now() - interval '90 minutes' WHERE chat_id = '5511999990003@s.whatsapp.net';
SELECT whaply.auto_resume() ->> 'resumed' AS too_early;
UPDATE whaply.tenants SET auto_resume_after = '1 hour' WHERE instance_name = 'outra';
SELECT instance_name, chat_id, pause_reason, idle_duration FROM whaply.resumable_sessions ORDER BY chat_id;
SELECT whaply.auto_resume() ->> 'resumed' AS resumed;
SELECT * FROM chat WHERE chat_id = '5511999990003@s.whatsapp.net' ORDER BY instance_name;

-- By hand, for all tenants: hours may be a fraction.
SELECT whaply.auto_resume_paused_sessions(1.75) AS too_early;
SELECT whaply.auto_resume_paused_sessions(1.25) AS resumed;

-- A late message of the owner moves the silence forward, never back.
SELECT * FROM story.tell(story.message('D1', from_me => true, jid => '5511999990004@s.whatsapp.net', age => '10 minutes'));
SELECT * FROM story.tell(story.message('D2', from_me => true, jid => '5511999990004@s.whatsapp.net', age => '50 minutes'));
SELECT now() - last_human_at < interval '11 minutes' AS counts_from_the_newest
  FROM whaply.sessions WHERE chat_id = '5511999990004@s.whatsapp.net';

-- A pause that no person caused has its end, and silence does not shorten it.
INSERT INTO whaply.sessions (tenant_id, chat_id, is_paused, pause_reason, paused_until, last_human_at)
VALUES (:loja, '5511999990005@s.whatsapp.net', true, 'ai_failed', now() + interval '10 minutes', now() - interval '9 days');
SELECT whaply.auto_resume_paused_sessions(1);
-- The owner's message makes it the owner's.
SELECT * FROM story.tell(story.message('E1', from_me => true, jid => '5511999990005@s.whatsapp.net'));

-- A message of an operator goes out in a paused chat too, and pauses only if asked to.
SELECT whaply.send_message('loja', '+55 11 99999-0006', 'Bom dia') > 0 AS queued;
SELECT * FROM chat WHERE chat_id = '5511999990006@s.whatsapp.net';
SELECT whaply.send_message('loja', '+55 11 99999-0006', 'Sou a Ana', pause => true) > 0 AS queued;
SELECT * FROM chat WHERE chat_id = '5511999990006@s.whatsapp.net';
SELECT chat_id, kind, part, text, state FROM whaply.deliveries ORDER BY id;

-- What cannot be meant.
SELECT statement, error.*
  FROM unnest(ARRAY[
       $$SELECT whaply.pause_session('nobody', '5511999990001')$$,
       $$SELECT whaply.pause_session('loja', NULL)$$,
       $$SELECT whaply.pause_session('loja', '5511999990001', NULL)$$,
       $$SELECT whaply.pause_session('loja', '5511999990001', repeat('x', 101))$$,
       $$SELECT whaply.pause_session('loja', '5511999990001', 'lunch', '0')$$,
       $$SELECT whaply.pause_session('loja', '5511999990001', 'lunch', '-1 hour')$$,
       $$SELECT whaply.pause_session('loja', '5511999990001', 'lunch', '3651 days')$$,
       $$SELECT whaply.pause_session('loja', '5511999990001', 'lunch', '178000000 years')$$,
       $$SELECT whaply.resume_session(NULL, '5511999990001')$$,
       $$SELECT whaply.resume_sessions('loja', NULL)$$,
       $$SELECT whaply.auto_resume_paused_sessions(-1)$$,
       $$SELECT whaply.auto_resume_paused_sessions('NaN')$$,
       $$SELECT whaply.auto_resume_paused_sessions(NULL)$$,
       $$SELECT whaply.send_message('loja', '5511999990001', ' ')$$]) WITH ORDINALITY AS statements (statement, place),
       LATERAL story.error_of(statement) AS error
 ORDER BY place;

ROLLBACK;
