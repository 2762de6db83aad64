-- Guards tenants.mode at the door: what is stored is the same in each, what is queued is not.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');

-- on: every customer.
SELECT mode FROM whaply.tenants;
SELECT * FROM story.tell(story.message('M1', jid => '5511999990001@s.whatsapp.net'));

-- off: stored, nothing queued; the owner still pauses.
UPDATE whaply.tenants SET mode = 'off';
SELECT * FROM story.tell(story.message('M2', jid => '5511999990002@s.whatsapp.net'));
SELECT * FROM story.tell(story.message('M3', from_me => true, jid => '5511999990002@s.whatsapp.net'));

-- draft: queued; that nothing is sent is the worker's part.
UPDATE whaply.tenants SET mode = 'draft';
SELECT * FROM story.tell(story.message('M4', jid => '5511999990004@s.whatsapp.net'));

-- test: only test_chats, named in any writing: without the ninth digit, by LID, with signs.
UPDATE whaply.tenants SET mode = 'test';
SELECT * FROM story.tell(story.message('M5', jid => '5511999990005@s.whatsapp.net'));
UPDATE whaply.tenants SET test_chats = '{"+55 (11) 9999-0005", 100000000000006@lid, no number}';
SELECT jid, alt, told.*
  FROM (VALUES (1, '5511999990005@s.whatsapp.net', NULL),
               (2, '5511999990006@s.whatsapp.net', '100000000000006@lid'),
               (3, '100000000000005@lid', '5511999990005@s.whatsapp.net'),
               (4, '5511999990007@s.whatsapp.net', NULL)) AS chats (place, jid, alt),
       LATERAL story.tell(story.message('M6-' || place, jid => jid, alt => alt)) AS told
 ORDER BY place;
-- The alias learnt from M6-2 is enough later.
SELECT * FROM story.tell(story.message('M7', jid => '5511999990006@s.whatsapp.net'));

-- Everything was stored, whatever the mode.
SELECT count(*) AS messages, count(*) FILTER (WHERE raw IS NOT NULL) AS with_payload FROM whaply.messages;

-- No other word.
SELECT code, message FROM story.error_of($$UPDATE whaply.tenants SET mode = 'silent'$$);

ROLLBACK;
