-- Guards that one chat has one session, the right one, by whatever JID it is known: phone number,
-- LID, the other writing of the number, the number inside a wamid.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');
CREATE TEMP VIEW chat AS
SELECT chat_id, story.session(chat_id) AS session, reply_jid, story.replies(chat_id) AS replies FROM whaply.sessions;

-- The first message names the chat by the phone, although it came from the LID; answers go to the LID.
SELECT whaply.ingest(story.message('A1', jid => '100000000000001@lid', alt => '5511999990001@s.whatsapp.net'))
       ->> 'chat_id' AS chat_id;
SELECT * FROM chat ORDER BY chat_id;
-- Later either name is enough, and so is the number without its ninth digit.
SELECT jid, whaply.ingest(story.message('A2-' || place, jid => jid)) ->> 'chat_id' AS chat_id
  FROM unnest('{100000000000001@lid,5511999990001@s.whatsapp.net,551199990001@s.whatsapp.net}'::text[])
       WITH ORDINALITY AS jids (jid, place)
 ORDER BY place;
SELECT * FROM chat ORDER BY chat_id;
SELECT jid, chat_id FROM whaply.chat_aliases ORDER BY jid;

-- Two sessions are found to be one: the older takes the younger's pause over; messages stay where they are.
SELECT whaply.ingest(story.message('B1', jid => '100000000000002@lid')) ->> 'chat_id' AS chat_id;
SELECT whaply.ingest(story.message('B2', jid => '5511999990002@s.whatsapp.net')) ->> 'chat_id' AS chat_id;
SELECT whaply.pause_session('loja', '5511999990002');
SELECT * FROM chat WHERE chat_id LIKE '%2@%' ORDER BY chat_id;
SELECT * FROM story.tell(story.message('B3', jid => '5511999990002@s.whatsapp.net', alt => '100000000000002@lid'));
SELECT * FROM chat WHERE chat_id LIKE '%2@%' ORDER BY chat_id;
SELECT message_id, chat_id FROM whaply.messages WHERE message_id LIKE 'B%' ORDER BY message_id;
SELECT jid, chat_id FROM whaply.chat_aliases WHERE jid LIKE '%2@%' ORDER BY jid;
SELECT chat_id, text FROM whaply.unanswered_chats ORDER BY chat_id;
-- A person who names the younger means the older.
SELECT whaply.resume_session('loja', '5511999990002');
SELECT * FROM chat WHERE chat_id LIKE '%2@%' ORDER BY chat_id;

-- The same while the younger waits for an answer: the older's reply gives it.
SELECT whaply.ingest(story.message('C1', jid => '100000000000003@lid')) ->> 'chat_id' AS chat_id;
SELECT whaply.ingest(story.message('C2', jid => '5511999990003@s.whatsapp.net')) ->> 'chat_id' AS chat_id;
SELECT * FROM story.tell(story.message('C3', jid => '5511999990003@s.whatsapp.net', alt => '100000000000003@lid'));
SELECT chat_id, state, wanted FROM whaply.replies WHERE chat_id LIKE '%3@%' ORDER BY id;

-- The own number beside a message is nobody's other name.
SELECT whaply.ingest(story.message('D1', jid => '100000000000004@lid', alt => '5511988880000@s.whatsapp.net'))
       ->> 'chat_id' AS chat_id;
SELECT count(*) AS aliases FROM whaply.chat_aliases WHERE jid LIKE '5511988880000@%';

-- WHATSAPP-BUSINESS mixes up customers: the number in the wamid (5511999990001) is right, remoteJid is not.
SELECT whaply.ingest(story.message('wamid.HBgNNTUxMTk5OTk5MDAwMRUCABIYFDNB4811DA4EC1F68008',
                                   jid => '5511999990005@s.whatsapp.net', addressing => NULL)) ->> 'chat_id' AS chat_id;
SELECT story.session('5511999990005@s.whatsapp.net');

ROLLBACK;
