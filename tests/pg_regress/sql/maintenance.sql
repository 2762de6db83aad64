-- Guards the chores: what is old goes, what is young stays, nothing is doubled or lost.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1') RETURNING id AS loja \gset
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, created_at)
SELECT :loja, '5511999990001@s.whatsapp.net', 'M' || days, days || ' days', now() - days * interval '1 day'
  FROM unnest('{0,89,91,365}'::integer[]) AS days;
INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken, processed_at)
SELECT :loja, 'M' || days, 'messages.upsert', 'ai_replied', now() - days * interval '1 day'
  FROM unnest('{0,6,8,31}'::integer[]) AS days;

-- Events: by hand, then by the setting (7 days; 0 keeps them all).
SELECT whaply.cleanup_old_processed_events(30) AS deleted;
SET LOCAL whaply.keep_processed_events = 0;
SELECT whaply.auto_resume();
RESET whaply.keep_processed_events;
SELECT whaply.auto_resume();
SELECT whaply.auto_resume() AS again;
SELECT message_id FROM whaply.processed_events ORDER BY message_id;
SELECT whaply.cleanup_old_processed_events(0) AS deleted;

-- Messages: the archive is made on first use, and belongs to the user, not to the extension.
SELECT to_regclass('whaply.messages_archive') AS archive;
SELECT whaply.archive_messages(90) AS moved;
SELECT whaply.archive_messages(90) AS again;
SELECT message_id, text FROM whaply.messages ORDER BY message_id;
SELECT message_id, text FROM whaply.messages_archive ORDER BY message_id;
SELECT count(*) AS is_member FROM pg_depend WHERE objid = 'whaply.messages_archive'::regclass AND deptype = 'e';

-- A message that is in the archive already is not doubled there.
INSERT INTO whaply.messages SELECT * FROM whaply.messages_archive WHERE message_id = 'M91';
SELECT whaply.archive_messages(90) AS moved;
SELECT count(*) AS archived FROM whaply.messages_archive;
SELECT count(*) AS left FROM whaply.messages;

-- The published statement makes the same archive; what either moved, both find.
DROP TABLE whaply.messages_archive;
SET LOCAL search_path TO whaply;
CREATE TABLE messages_archive (LIKE messages INCLUDING ALL);
WITH deleted AS (
    DELETE FROM messages
    WHERE created_at < NOW() - INTERVAL '88 days'
    RETURNING *
)
INSERT INTO messages_archive
SELECT * FROM deleted;
RESET search_path;
UPDATE whaply.messages SET created_at = now() - interval '100 days';
SELECT whaply.archive_messages(90) AS moved;
SELECT message_id, text FROM whaply.messages_archive ORDER BY message_id;
SELECT count(*) AS left FROM whaply.messages;

-- What cannot be meant.
SELECT statement, error.*
  FROM unnest(ARRAY[
       'SELECT whaply.cleanup_old_processed_events(-1)',
       'SELECT whaply.cleanup_old_processed_events(NULL)',
       'SELECT whaply.archive_messages(-1)',
       'SELECT whaply.archive_messages(NULL)']) WITH ORDINALITY AS statements (statement, place),
       LATERAL story.error_of(statement) AS error
 ORDER BY place;

ROLLBACK;
