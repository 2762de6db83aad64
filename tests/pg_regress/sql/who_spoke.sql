-- Guards the table "Who spoke": one story a row, in its order; the first that fits wins.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, auto_reply_texts)
VALUES ('loja', 'http://127.0.0.1:1', '{"Olá! Responderemos em breve."}')
RETURNING id AS loja \gset

-- 1. An event without a message moves the line, is history, or is ignored: no row.
CREATE FUNCTION pg_temp.tell(event text, data jsonb, OUT action text, OUT line_after text)
    LANGUAGE plpgsql AS $$
BEGIN
    action := whaply.ingest(story.webhook(event, data)) ->> 'action';
    line_after := (SELECT connection_state FROM whaply.tenants);
END
$$;
SELECT event, data, told.*
  FROM (VALUES (1, 'connection.update', '{"state": "close"}'::jsonb),
               (2, 'status.instance', '{"status": "open"}'),
               (3, 'logout.instance', NULL),
               (4, 'connection.update', '{"state": "connecting"}'),
               (5, 'connection.update', '{"state": "open"}'),
               (6, 'messages.set', '[{"key": {"id": "OLD", "remoteJid": "5511999990001@s.whatsapp.net"}}]'),
               (7, 'presence.update', '{"id": "5511999990001@s.whatsapp.net"}'),
               (8, 'contacts.upsert', '[]'),
               (9, 'call', '{"id": "CALL"}')) AS events (place, event, data),
       LATERAL pg_temp.tell(event, data) AS told
 ORDER BY place;
SELECT * FROM story.rows();

-- 1, aliases: a group tells which LID is which phone; kept where the phone has a chat.
SELECT * FROM story.tell(story.message('R1', jid => '5511999990010@s.whatsapp.net'));
SELECT action FROM story.tell(story.webhook('group-participants.update', '{"participantsData": [
    {"jid": "100000000000010@lid", "phoneNumber": "5511999990010@s.whatsapp.net"},
    {"jid": "100000000000011@lid", "phoneNumber": "5511999990011@s.whatsapp.net"}]}'));
SELECT jid, chat_id FROM whaply.chat_aliases ORDER BY jid;

-- 2. A receipt moves the status and leaves no row.
SELECT action, duplicate FROM story.tell(story.webhook('messages.update', '{"keyId": "R1", "status": "READ"}'));
SELECT status FROM whaply.messages WHERE message_id = 'R1';
SELECT event_type FROM whaply.processed_events WHERE message_id = 'R1';

-- 3. Delivered again: answered as the first was, although by now the chat is no longer paused.
SELECT whaply.pause_session('loja', '5511999990010');
SELECT * FROM story.tell(story.message('D3', jid => '5511999990010@s.whatsapp.net'));
SELECT whaply.resume_session('loja', '5511999990010');
SELECT * FROM story.tell(story.message('D3', jid => '5511999990010@s.whatsapp.net'));

-- 4. No chat with a person: an event, no message.
SELECT jid, told.*
  FROM unnest('{120363000000000001@g.us,status@broadcast,1@broadcast,123@newsletter,5511988880000@s.whatsapp.net,
                13135550002@s.whatsapp.net,0@s.whatsapp.net}'::text[]) WITH ORDINALITY AS chats (jid, place),
       LATERAL story.tell(story.message('N' || place, jid => jid)) AS told
 ORDER BY place;
SELECT count(*) AS messages FROM whaply.messages WHERE message_id LIKE 'N%';
SELECT count(*) AS events FROM whaply.processed_events WHERE message_id LIKE 'N%';

-- 4, groups enabled: only a mention of the business is answered.
UPDATE whaply.tenants SET groups = true WHERE id = :loja;
SELECT * FROM story.tell(story.message('G1', jid => '120363000000000001@g.us'));
SELECT * FROM story.tell(story.message('G2', jid => '120363000000000001@g.us', content => '{"extendedTextMessage":
    {"text": "@loja aberto?", "contextInfo": {"mentionedJid": ["5511988880000@s.whatsapp.net"]}}}'));
UPDATE whaply.tenants SET groups = NULL WHERE id = :loja;

-- 5. A message changes: see the test "edits".
SELECT * FROM story.tell(story.message('E1', 'Quero 2', jid => '5511999990020@s.whatsapp.net'));
SELECT * FROM story.tell(story.webhook('messages.delete', '{"id": "E1", "remoteJid": "5511999990020@s.whatsapp.net"}'));

-- 6. The echo of a delivery of ours, by either event: its message is there already.
SELECT * FROM story.tell(story.message('Q6', jid => '5511999990006@s.whatsapp.net'));
INSERT INTO whaply.deliveries (tenant_id, chat_id, kind, text, state, message_id)
VALUES (:loja, '5511999990006@s.whatsapp.net', 'operator', 'Posso ajudar?', 'sent', '3EB006');
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, sender)
VALUES (:loja, '5511999990006@s.whatsapp.net', '3EB006', true, 'Posso ajudar?', 'operator');
SELECT * FROM story.tell(story.sent_by_api('3EB006', jid => '5511999990006@s.whatsapp.net'));
SELECT * FROM story.tell(story.message('3EB006', from_me => true, jid => '5511999990006@s.whatsapp.net'));

-- 7. While a call of ours is on its way nobody can say whose an unknown id is: neither in its chat,
-- nor where the chat is not known. In another chat that is known it is not ours.
SELECT * FROM story.tell(story.message('Q7', jid => '5511999990007@s.whatsapp.net'));
INSERT INTO whaply.deliveries (tenant_id, chat_id, kind, text, state)
VALUES (:loja, '5511999990007@s.whatsapp.net', 'operator', 'Posso ajudar?', 'sending');
SELECT * FROM story.tell(story.sent_by_api('3EB007', jid => '5511999990007@s.whatsapp.net'));
SELECT * FROM story.tell(story.message('3EB00A', from_me => true, jid => '5511999990007@s.whatsapp.net'));
SELECT * FROM story.tell(story.sent_by_api('3EB008', jid => '100000000000099@lid'));
SELECT * FROM story.tell(story.message('3EB009', from_me => true, jid => '5511999990006@s.whatsapp.net'));
UPDATE whaply.deliveries SET state = 'sent', message_id = '3EB007' WHERE state = 'sending';

-- 8. The owner's reaction says nothing: no message, no pause.
SELECT * FROM story.tell(story.message('3A8', from_me => true, jid => '5511999990007@s.whatsapp.net',
    content => '{"reactionMessage": {"text": "❤️"}}'));

-- 9. Evolution's answer to a rejected call, and a greeting known by its text: no pause.
SELECT * FROM story.tell(story.message('3EB0C9', 'Não atendemos.', from_me => true, jid => '5511999990007@s.whatsapp.net',
    status => 'PENDING', addressing => NULL));
SELECT * FROM story.tell(story.message('AC9', ' Olá! Responderemos em breve. ', from_me => true,
    jid => '5511999990007@s.whatsapp.net'));

-- 10. The owner's words of three hours ago: stored, too old to pause; also through the API.
SELECT * FROM story.tell(story.message('3A10', from_me => true, age => '3 hours', jid => '5511999990007@s.whatsapp.net'));
SELECT * FROM story.tell(story.sent_by_api('3EB0D10', age => '3 hours', jid => '5511999990007@s.whatsapp.net'));

-- 11. The owner writes: takeover, the open reply is cancelled; a chat never seen begins paused.
SELECT * FROM story.tell(story.message('3A11', 'Eu atendo', from_me => true, jid => '5511999990007@s.whatsapp.net'));
SELECT action_taken FROM whaply.processed_events WHERE message_id = 'Q7';
SELECT * FROM story.tell(story.message('3A12', from_me => true, jid => '5511999990011@s.whatsapp.net'));

-- 12. Somebody else through the API: pauses, unless the tenant says that these are machines.
SELECT * FROM story.tell(story.sent_by_api('3EB0E12', jid => '5511999990012@s.whatsapp.net'));
UPDATE whaply.tenants SET on_other_sender = 'ignore' WHERE id = :loja;
SELECT * FROM story.tell(story.sent_by_api('3EB0F12', jid => '5511999990013@s.whatsapp.net'));
UPDATE whaply.tenants SET on_other_sender = NULL WHERE id = :loja;

-- 13. A placeholder waits without an event; when the same id comes with content it acts.
SELECT * FROM story.tell(story.message('P13', jid => '5511999990014@s.whatsapp.net', content => '{"messageContextInfo": {}}'));
SELECT count(*) AS events FROM whaply.processed_events WHERE message_id = 'P13';
SELECT * FROM story.tell(story.message('P13', 'Agora sim', jid => '5511999990014@s.whatsapp.net'));
SELECT text, count(*) OVER () AS rows FROM whaply.messages WHERE message_id = 'P13';

-- 14. Reaction, sticker, album, poll: nothing to answer.
SELECT content, told.*
  FROM (VALUES (1, '{"reactionMessage": {"text": "♥"}}'::jsonb), (2, '{"stickerMessage": {}}'),
               (3, '{"albumMessage": {}}'), (4, '{"pollCreationMessageV3": {"name": "?"}}')) AS contents (place, content),
       LATERAL story.tell(story.message('S' || place, jid => '5511999990015@s.whatsapp.net', content => content)) AS told
 ORDER BY place;

-- 15. Asked an hour and a half ago: history after a reconnect.
SELECT * FROM story.tell(story.message('O15', age => '90 minutes', jid => '5511999990015@s.whatsapp.net'));

-- 16. The chat is the human's.
SELECT * FROM story.tell(story.message('H16', jid => '5511999990011@s.whatsapp.net'));

-- 17. A question, with or without text: one open reply, which the later ones join.
SELECT * FROM story.tell(story.message('Q17', 'Quanto custa?', jid => '5511999990017@s.whatsapp.net'));
SELECT content, told.*
  FROM (VALUES (1, '{"audioMessage": {"seconds": 12, "ptt": true}}'::jsonb), (2, '{"imageMessage": {}}'),
               (3, '{"videoMessage": {}}'), (4, '{"documentMessage": {}}'), (5, '{"locationMessage": {}}'),
               (6, '{"contactMessage": {}}'), (7, '{"orderMessage": {}}')) AS contents (place, content),
       LATERAL story.tell(story.message('Q17-' || place, jid => '5511999990017@s.whatsapp.net', content => content)) AS told
 ORDER BY place;
SELECT state, wanted, seen FROM whaply.replies WHERE chat_id = '5511999990017@s.whatsapp.net';

ROLLBACK;
