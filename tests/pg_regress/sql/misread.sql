-- Guards what could be misread: a pause with an end in which the owner wrote, an answer that is on its
-- way when its pause ends, another sender's words for an echo, one customer's name for another's.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1')
RETURNING id AS loja \gset
-- What the owner types: each time in other words, since the same ones would be taken for a greeting.
CREATE FUNCTION pg_temp.owner(id text, jid text, alt text DEFAULT NULL, age interval DEFAULT '0', text text DEFAULT NULL)
    RETURNS jsonb LANGUAGE sql AS $$
    SELECT story.message(id, coalesce(text, 'Palavras ' || id), from_me => true, jid => jid, alt => alt, age => age)
$$;

-- A pause with an end: the owner who writes in it keeps the chat as long as by any takeover, and no longer.
SELECT whaply.pause_session('loja', '5511999990001', 'lunch', '10 minutes');
SELECT whaply.pause_session('loja', '5511999990002', 'holidays', '3 days');
SELECT * FROM story.tell(pg_temp.owner('A1', '5511999990001@s.whatsapp.net'));
SELECT * FROM story.tell(pg_temp.owner('A2', '5511999990002@s.whatsapp.net'));
SELECT pause_reason, date_trunc('minute', paused_until - last_human_at + interval '30 s') AS after_the_owner
  FROM whaply.sessions ORDER BY chat_id;

-- A part of the answer is on its way when a pause begins and ends: what it answers is not asked again.
UPDATE whaply.tenants SET answer_after_pause = true WHERE id = :loja;
SELECT * FROM story.tell(story.message('B1', 'Tem bolo?', jid => '5511999990003@s.whatsapp.net'));
SELECT * FROM story.tell(story.message('B2', 'Tem pão?', jid => '5511999990004@s.whatsapp.net'));
UPDATE whaply.messages m SET reply_id = r.id FROM whaply.replies r WHERE r.chat_id = m.chat_id AND m.message_id LIKE 'B_';
UPDATE whaply.replies SET state = 'sending', seen = wanted;
INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state, due_at)
SELECT tenant_id, chat_id, id, 'reply', 'Temos sim', CASE chat_id WHEN '5511999990003@s.whatsapp.net' THEN 'sending' ELSE 'pending' END,
       now() FROM whaply.replies;
SELECT whaply.pause_session('loja', chat), whaply.resume_session('loja', chat)
  FROM unnest('{5511999990003,5511999990004}'::text[]) AS chat;
SELECT chat_id, story.replies(chat_id), action_taken
  FROM whaply.messages JOIN whaply.processed_events USING (message_id) WHERE message_id LIKE 'B_' ORDER BY chat_id;
UPDATE whaply.tenants SET answer_after_pause = false WHERE id = :loja;
UPDATE whaply.deliveries SET state = 'cancelled';

-- The words of a message that could not be sent: its echo while Evolution may be at work on it, later somebody else's.
SELECT whaply.send_message('loja', chat, 'Posso ajudar?') IS NOT NULL AS queued
  FROM unnest('{5511999990005,5511999990006}'::text[]) AS chat;
UPDATE whaply.deliveries SET state = 'failed', attempt = 1, error = 'held: …',
       attempted_at = now() - CASE chat_id WHEN '5511999990005@s.whatsapp.net' THEN interval '1 minute' ELSE '10 minutes' END
 WHERE kind = 'operator';
SELECT * FROM story.tell(story.sent_by_api('C1', jid => '5511999990005@s.whatsapp.net'));
SELECT * FROM story.tell(story.sent_by_api('C2', jid => '5511999990006@s.whatsapp.net'));
SELECT state, message_id FROM whaply.deliveries WHERE kind = 'operator' ORDER BY id;
-- The echo of one message settles no other of the same words.
INSERT INTO whaply.deliveries (tenant_id, chat_id, kind, text, state, attempted_at, message_id) VALUES
    (:loja, '5511999990005@s.whatsapp.net', 'operator', 'Um momento', 'failed', now(), NULL),
    (:loja, '5511999990005@s.whatsapp.net', 'operator', 'Um momento', 'sent', now(), 'C3');
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, sender, reply_id)
VALUES (:loja, '5511999990005@s.whatsapp.net', 'C3', true, 'Um momento', 'operator', 7);
SELECT * FROM story.tell(story.sent_by_api('C3', 'Um momento', jid => '5511999990005@s.whatsapp.net'));
SELECT reply_id FROM whaply.messages WHERE message_id = 'C3';

-- A chat that is kept under its phone number; the customer is known by the LID alone. The owner's message, which names
-- both, does not do away with the pause: the customer's makes them one, and it lasts.
SELECT * FROM story.tell(story.message('D1', jid => '100000000000007@lid', age => '5 minutes'));
SELECT whaply.pause_session('loja', '5511999990007', 'vip');
SELECT * FROM story.tell(pg_temp.owner('D2', '100000000000007@lid', '5511999990007@s.whatsapp.net'));
SELECT * FROM story.tell(story.message('D3', jid => '100000000000007@lid', alt => '5511999990007@s.whatsapp.net'));

-- A LID beside the owner's messages to two numbers is taken for our own, until a customer writes under it.
SELECT * FROM story.tell(pg_temp.owner('E1', '5511999990008@s.whatsapp.net', '100000000000008@lid'));
SELECT * FROM story.tell(pg_temp.owner('E2', '5511999990009@s.whatsapp.net', '100000000000008@lid'));
SELECT own_lids FROM whaply.tenants;
SELECT * FROM story.tell(pg_temp.owner('E3', '100000000000008@lid'));
SELECT * FROM story.tell(story.message('E4', jid => '100000000000008@lid'));
SELECT own_lids FROM whaply.tenants;
SELECT * FROM story.tell(pg_temp.owner('E5', '100000000000008@lid'));

-- Notes to self under our own LID: it comes beside our first message to a new customer, whose chat is another.
SELECT * FROM story.tell(pg_temp.owner('F1', '200000000000000@lid', '5511988880000@s.whatsapp.net'));
SELECT * FROM story.tell(pg_temp.owner('F2', '5511999990010@s.whatsapp.net', '200000000000000@lid'));
SELECT message_id, chat_id FROM whaply.messages WHERE message_id LIKE 'F_' ORDER BY id;
SELECT * FROM story.tell(story.message('F3', jid => '5511999990010@s.whatsapp.net'));

-- An owner who wrote before the pairing keeps the chat, although a greeting that came since is found out.
SELECT whaply.ingest(story.webhook('messages.set', jsonb_build_array(
    pg_temp.owner('G0', '5511999990020@s.whatsapp.net', age => '10 minutes', text => 'Deixa comigo') -> 'data'))) ->> 'action' AS action;
SELECT chat, t.session
  FROM generate_series(20, 22) AS chat,
       LATERAL (SELECT '55119999900' || chat || '@s.whatsapp.net' AS jid) AS j,
       LATERAL (SELECT whaply.ingest(story.message('Q' || chat, jid => j.jid, age => '30 s'))) AS asked,
       LATERAL story.tell(pg_temp.owner('G' || chat, j.jid, age => '28 s', text => 'Bem-vindo!')) AS t
 ORDER BY chat;
SELECT chat_id, story.session(chat_id), round(extract(epoch FROM clock_timestamp() - last_human_at) / 60) AS minutes
  FROM whaply.sessions WHERE chat_id LIKE '551199999002%' ORDER BY chat_id;
SELECT sender, text, raw FROM whaply.messages WHERE message_id = 'G0';

ROLLBACK;
