-- Guards whose chat a message is where its names may be wrong: our own LID beside our own messages,
-- the Cloud API that mixes customers up, and what the phone tells after a new pairing.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1')
RETURNING id AS loja \gset
CREATE TEMP VIEW alias AS SELECT jid, chat_id, confirmed FROM whaply.chat_aliases;
CREATE FUNCTION pg_temp.owner(id text, jid text, alt text DEFAULT NULL, age interval DEFAULT '0') RETURNS jsonb
    LANGUAGE sql AS $$ SELECT story.message(id, 'Oi', from_me => true, jid => jid, alt => alt, age => age) $$;

-- The owner writes first, and WhatsApp tells the customer's LID: the customer may answer from that alone.
SELECT * FROM story.tell(pg_temp.owner('A1', '5511999990001@s.whatsapp.net', '100000000000001@lid'));
SELECT * FROM alias ORDER BY jid;
SELECT * FROM story.tell(story.message('A2', jid => '100000000000001@lid'));
-- The customer's own message confirms it.
SELECT * FROM story.tell(story.message('A3', jid => '100000000000001@lid', alt => '5511999990001@s.whatsapp.net'));
SELECT * FROM alias ORDER BY jid;

-- The customer wrote from the LID before; the owner answers to the phone number: it is one chat, and paused.
SELECT * FROM story.tell(story.message('B1', jid => '100000000000002@lid'));
SELECT * FROM story.tell(pg_temp.owner('B2', '5511999990002@s.whatsapp.net', '100000000000002@lid'));
SELECT chat_id, story.session(chat_id) FROM whaply.sessions WHERE chat_id LIKE '%2@%' ORDER BY chat_id;

-- A LID that comes beside our messages to two customers is our own: it names neither.
SELECT * FROM story.tell(pg_temp.owner('C1', '5511999990003@s.whatsapp.net', '200000000000000@lid'));
SELECT * FROM story.tell(pg_temp.owner('C2', '5511999990004@s.whatsapp.net', '200000000000000@lid'));
SELECT own_lids FROM whaply.tenants;
SELECT * FROM alias WHERE jid LIKE '2%';
SELECT * FROM story.tell(pg_temp.owner('C3', '5511999990005@s.whatsapp.net', '200000000000000@lid'));
SELECT * FROM alias WHERE jid LIKE '2%';
-- Notes to self under it are nobody's chat.
SELECT * FROM story.tell(pg_temp.owner('C4', '200000000000000@lid'));

-- The Cloud API, whose ids tell the customer: the right chat, whatever remoteJid says. Without a number
-- in the id nobody can tell, which matters only while somebody else writes too.
CREATE FUNCTION pg_temp.cloud(id text, chat text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT story.message('wamid.' || id, jid => chat || '@s.whatsapp.net', addressing => NULL) $$;
SELECT * FROM story.tell(pg_temp.cloud('NONE1', '5511999990010'));
SELECT * FROM story.tell(pg_temp.cloud('NONE2', '5511999990010'));
SELECT * FROM story.tell(pg_temp.cloud('NONE3', '5511999990011'));
SELECT * FROM story.tell(pg_temp.cloud('NONE3', '5511999990011'));
SELECT * FROM story.tell(pg_temp.cloud('HBgNNTUxMTk5OTk5MDAwMRUCABIYFDNB4811DA4EC1F68008', '5511999990011'));
SELECT chat_id FROM whaply.messages WHERE message_id LIKE 'wamid.%' ORDER BY id;
SELECT subject, problem FROM whaply.health WHERE subject = 'unverified';
-- A tenant whose gateway does not mix them up may say so.
UPDATE whaply.tenants SET on_unverified = 'answer' WHERE id = :loja;
SELECT * FROM story.tell(pg_temp.cloud('NONE4', '5511999990012'));

-- After a new pairing the phone tells what was said: nothing is answered, but where the owner wrote
-- lately the chat is theirs, once.
CREATE FUNCTION pg_temp.history(VARIADIC messages jsonb[]) RETURNS text LANGUAGE sql AS $$
    SELECT whaply.ingest(story.webhook('messages.set', (SELECT jsonb_agg(m -> 'data') FROM unnest(messages) AS m))) ->> 'action' $$;
SELECT * FROM story.tell(story.message('S0', jid => '5511999990020@s.whatsapp.net'));
SELECT pg_temp.history(
    story.message('S1', jid => '5511999990021@s.whatsapp.net', age => '5 minutes'),
    pg_temp.owner('S2', '5511999990020@s.whatsapp.net', age => '5 minutes'),
    pg_temp.owner('S3', '5511999990022@s.whatsapp.net', age => '1 hour 59 minutes'),
    pg_temp.owner('S4', '5511999990023@s.whatsapp.net', age => '2 hours 1 minute'),
    '{"data": {"key": {"fromMe": true}}}', '{"data": 7}');
SELECT chat_id, story.session(chat_id), story.replies(chat_id), last_human_at IS NOT NULL AS human_spoke
  FROM whaply.sessions WHERE chat_id LIKE '551199999002%' ORDER BY chat_id;
SELECT whaply.resume_session('loja', '5511999990020');
SELECT pg_temp.history(pg_temp.owner('S2', '5511999990020@s.whatsapp.net', age => '5 minutes'));
SELECT story.session('5511999990020@s.whatsapp.net');
-- The owner's words for us count there as well, in whatever order the phone tells.
CREATE FUNCTION pg_temp.typed(id text, chat text, words text, age interval) RETURNS jsonb LANGUAGE sql AS $$
    SELECT story.message(id, words, from_me => true, jid => chat || '@s.whatsapp.net', age => age) $$;
SELECT pg_temp.history(
    pg_temp.typed('T1', '5511999990031', '#eu', '5 minutes'),
    pg_temp.typed('T2', '5511999990032', 'Oi', '5 minutes'), pg_temp.typed('T3', '5511999990032', '#bot', '4 minutes'),
    pg_temp.typed('T4', '5511999990033', '#bot', '4 minutes'), pg_temp.typed('T5', '5511999990033', 'Oi', '5 minutes'),
    pg_temp.typed('T6', '5511999990034', '#bot', '5 minutes'), pg_temp.typed('T7', '5511999990034', 'Oi', '4 minutes'));
SELECT chat_id, story.session(chat_id), last_human_at IS NOT NULL AS human_spoke
  FROM whaply.sessions WHERE chat_id LIKE '551199999003_@%' ORDER BY chat_id;
SELECT m.message_id, m.sender, e.action_taken
  FROM whaply.messages m JOIN whaply.processed_events e USING (tenant_id, message_id)
 WHERE m.message_id LIKE 'T_' ORDER BY m.message_id;
-- What the assistant said is in it, too.
INSERT INTO whaply.deliveries (tenant_id, chat_id, kind, text, state, message_id)
VALUES (:loja, '5511999990020@s.whatsapp.net', 'operator', 'Oi', 'sent', 'S5');
SELECT pg_temp.history(pg_temp.owner('S5', '5511999990020@s.whatsapp.net'));
SELECT story.session('5511999990020@s.whatsapp.net');

-- What was left to a person under one name, and whose echo comes when that is another chat's: ours all the same.
SELECT * FROM story.tell(story.message('U1', jid => '100000000000030@lid'));
SELECT whaply.send_message('loja', '5511999990030', 'Aqui é a loja') IS NOT NULL AS queued;
UPDATE whaply.deliveries SET state = 'failed', attempt = 1, attempted_at = now(), error = 'held: ...'
 WHERE chat_id = '5511999990030@s.whatsapp.net';
SELECT * FROM story.tell(story.message('U2', jid => '100000000000030@lid', alt => '5511999990030@s.whatsapp.net'));
SELECT * FROM story.tell(story.sent_by_api('U3', 'Aqui é a loja', jid => '5511999990030@s.whatsapp.net'));
SELECT chat_id, sender FROM whaply.messages WHERE message_id = 'U3';

ROLLBACK;
