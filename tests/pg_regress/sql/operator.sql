-- Guards what an operator does with replies, and the counts an operator looks at.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url)
VALUES ('loja', 'http://127.0.0.1:1'), ('quiet', 'http://127.0.0.1:1');

-- An open reply is called off once, with what it was to answer.
SELECT action FROM story.tell(story.message('M1'));
SELECT whaply.cancel_reply(max(id)) AS cancelled, whaply.cancel_reply(max(id)) AS again FROM whaply.replies;
SELECT state, error FROM whaply.replies;
SELECT message_id, action_taken FROM whaply.processed_events;
SELECT whaply.cancel_reply(0) AS no_such_reply;

-- A failed one is queued again, with its questions, and the pause of its failure ends.
SELECT action FROM story.tell(story.message('M2'));
UPDATE whaply.messages SET reply_id = (SELECT max(id) FROM whaply.replies) WHERE message_id = 'M2';
UPDATE whaply.processed_events SET action_taken = 'ai_failed' WHERE message_id = 'M2';
UPDATE whaply.replies SET state = 'failed', attempt = 5, error = 'no answer', finished_at = now() WHERE state = 'waiting';
SELECT whaply.pause_session('loja', '5511999990001', 'ai_failed');
SELECT chat_id, error FROM whaply.failed_replies;
SELECT whaply.retry_replies('loja', now() - interval '1 minute') AS retried;
SELECT whaply.retry_replies('loja', now() - interval '1 minute') AS again;
SELECT state, attempt, error FROM whaply.replies ORDER BY id;
SELECT message_id, action_taken FROM whaply.processed_events ORDER BY message_id;
SELECT story.session('5511999990001@s.whatsapp.net');
SELECT count(*) AS waiting FROM whaply.reply_queue;

-- Every tenant is counted, the one without messages too.
SELECT action FROM story.tell(story.message('M3', from_me => true));
SELECT * FROM whaply.tenant_stats;

ROLLBACK;
