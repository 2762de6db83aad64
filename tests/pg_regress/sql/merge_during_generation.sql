-- Guards a question that was being answered when its chat turned out to be an older one: the reply
-- that takes its place reads it again, whatever message brought the news.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');

-- One person, known by phone and, without anybody knowing it, by LID.
SELECT action FROM story.tell(story.message('M1', content => '{"stickerMessage": {}}', type => 'stickerMessage'));
SELECT action FROM story.tell(story.message('M2', jid => '100000000000001@lid'));

-- The worker has claimed the question of the LID.
UPDATE whaply.replies SET state = 'generating', attempt = 1, seen = wanted;
UPDATE whaply.messages SET reply_id = (SELECT max(id) FROM whaply.replies) WHERE message_id = 'M2';

-- A sticker tells that both are one.
SELECT action FROM story.tell(story.message('M3', content => '{"stickerMessage": {}}', type => 'stickerMessage',
                                            jid => '100000000000001@lid', alt => '5511999990001@s.whatsapp.net'));
SELECT chat_id, state FROM whaply.replies ORDER BY id;
SELECT m.message_id, m.reply_id IS NULL AS unread, e.action_taken
  FROM whaply.messages m JOIN whaply.processed_events e USING (tenant_id, message_id)
 WHERE m.message_id = 'M2';

ROLLBACK;
