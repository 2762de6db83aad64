-- Guards what the owner steers from the phone: the resume word and the hold word, in every order of
-- the webhooks; and what is answered when a pause ends.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1')
RETURNING id AS loja \gset
-- What the owner types on the phone.
CREATE FUNCTION pg_temp.owner(id text, text text, age interval DEFAULT '0', chat text DEFAULT '5511999990001')
    RETURNS jsonb LANGUAGE sql AS $$
    SELECT story.message(id, text, from_me => true, age => age, jid => chat || '@s.whatsapp.net')
$$;

-- The owner takes over, then gives the chat back; the word is a command and nobody's turn.
SELECT * FROM story.tell(story.message('A1', age => '1 minute'));
SELECT * FROM story.tell(pg_temp.owner('A2', 'Deixa comigo', age => '50 s'));
SELECT * FROM story.tell(pg_temp.owner('A3', ' #BOT ', age => '40 s'));
SELECT * FROM story.tell(pg_temp.owner('A3', ' #BOT ', age => '40 s'));
-- What the owner typed before the word, but came late, does not take the chat again; what was typed after it does.
SELECT * FROM story.tell(pg_temp.owner('A4', 'Já respondo', age => '45 s'));
SELECT * FROM story.tell(pg_temp.owner('A5', 'Ainda estou aqui', age => '30 s'));
-- A word older than that gives nothing back.
SELECT * FROM story.tell(pg_temp.owner('A6', '#bot', age => '35 s'));
-- The hold word keeps the chat: hours of silence do not end that, and the owner's next words change nothing.
SELECT * FROM story.tell(pg_temp.owner('A7', '#eu', age => '20 s'));
SELECT * FROM story.tell(pg_temp.owner('A8', 'Pronto', age => '10 s'));
UPDATE whaply.sessions SET last_human_at = now() - interval '3 days';
SELECT whaply.auto_resume();
SELECT story.session('5511999990001@s.whatsapp.net');
SELECT * FROM story.tell(pg_temp.owner('A9', '#bot'));
SELECT message_id, sender, action_taken FROM whaply.messages JOIN whaply.processed_events USING (message_id)
 WHERE sender = 'command' ORDER BY message_id;

-- The hold word cancels what is about to be said, in a chat that was not paused.
SELECT * FROM story.tell(story.message('B1', jid => '5511999990002@s.whatsapp.net'));
SELECT * FROM story.tell(pg_temp.owner('B2', '#eu', chat => '5511999990002'));
SELECT error FROM whaply.replies WHERE chat_id = '5511999990002@s.whatsapp.net';
-- A hold with a reason of its own keeps it.
SELECT whaply.pause_session('loja', '5511999990003', 'vip');
SELECT * FROM story.tell(pg_temp.owner('C1', '#eu', chat => '5511999990003'));
-- A pause for a time becomes a hold.
SELECT whaply.pause_session('loja', '5511999990004', 'lunch', '1 hour');
SELECT * FROM story.tell(pg_temp.owner('D1', '#eu', chat => '5511999990004'));

-- Words of the tenant's own; an empty one is none. What others send is no command.
UPDATE whaply.tenants SET resume_word = 'Volta', hold_word = '' WHERE id = :loja;
SELECT * FROM story.tell(pg_temp.owner('E1', 'volta', chat => '5511999990004'));
SELECT * FROM story.tell(pg_temp.owner('E2', '#eu', chat => '5511999990005'));
SELECT * FROM story.tell(story.sent_by_api('E3', 'volta', jid => '5511999990005@s.whatsapp.net'));
SELECT * FROM story.tell(story.message('E4', 'volta', jid => '5511999990005@s.whatsapp.net'));
SELECT * FROM story.error_of($$UPDATE whaply.tenants SET hold_word = ' VOLTA '$$);

-- A pause whose time is over counts no more, although nobody has ended it yet.
SELECT whaply.pause_session('loja', '5511999990006', 'lunch', '1 hour');
SELECT * FROM story.tell(story.message('F1', 'Oi?', jid => '5511999990006@s.whatsapp.net'));
UPDATE whaply.sessions SET paused_until = now() - interval '1 second' WHERE chat_id LIKE '5511999990006%';
SELECT * FROM story.tell(story.message('F2', 'E agora?', jid => '5511999990006@s.whatsapp.net'));

-- What was asked during a pause is answered at its end only if the tenant wants it, while it is fresh,
-- and if nobody has answered since.
UPDATE whaply.tenants SET answer_after_pause = true WHERE id = :loja;
CREATE FUNCTION pg_temp.asked_during_a_pause(chat text) RETURNS void LANGUAGE sql AS $$
    SELECT whaply.pause_session('loja', chat, 'vip');
    SELECT whaply.ingest(story.message(chat || '-old', 'Ontem?', jid => chat || '@s.whatsapp.net', age => '59 minutes'));
    SELECT whaply.ingest(story.message(chat || '-1', 'Tem bolo?', jid => chat || '@s.whatsapp.net', age => '2 minutes'));
    SELECT whaply.ingest(story.message(chat || '-2', 'Alô?', jid => chat || '@s.whatsapp.net', age => '1 minute'));
$$;
SELECT pg_temp.asked_during_a_pause(chat)
  FROM unnest('{5511999990011,5511999990012,5511999990013,5511999990014,5511999990015}'::text[]) AS chat;
UPDATE whaply.messages SET sent_at = now() - interval '61 minutes' WHERE message_id LIKE '%-old';
SELECT whaply.resume_session('loja', '5511999990011');
SELECT whaply.ingest(pg_temp.owner('G1', 'Tem sim', chat => '5511999990012')) ->> 'action' AS action;
SELECT whaply.resume_session('loja', '5511999990012');
SELECT whaply.ingest(pg_temp.owner('G2', 'volta', chat => '5511999990013')) ->> 'action' AS action;
UPDATE whaply.sessions SET paused_until = now() WHERE chat_id LIKE '5511999990014%';
SELECT whaply.auto_resume() ->> 'resumed' AS resumed;
SELECT whaply.resume_sessions('loja', 'vip') AS resumed;
SELECT e.message_id, e.action_taken, story.replies(m.chat_id) AS replies
  FROM whaply.processed_events e JOIN whaply.messages m USING (message_id)
 WHERE m.chat_id LIKE '551199999001_@%' AND m.sender = 'customer' ORDER BY e.message_id;

-- Where the tenant has no words of its own, the settings' count: alone, and nothing around them.
UPDATE whaply.tenants SET resume_word = NULL, hold_word = NULL, answer_after_pause = false WHERE id = :loja;
SET LOCAL whaply.hold_word = 'pausa';
SET LOCAL whaply.resume_word = '';
SELECT * FROM story.tell(pg_temp.owner('H1', 'pausa, por favor', chat => '5511999990020'));
SELECT * FROM story.tell(pg_temp.owner('H2', 'Pausa', chat => '5511999990020'));
SELECT * FROM story.tell(pg_temp.owner('H3', '#bot', chat => '5511999990020'));
RESET whaply.resume_word;
SELECT * FROM story.tell(pg_temp.owner('H4', '#bot!', chat => '5511999990020'));
SELECT * FROM story.tell(pg_temp.owner('H5', '#bot', chat => '5511999990020'));

ROLLBACK;
