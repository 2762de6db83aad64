-- Guards what happens to a message after it was said: the newest edit wins in any order, a deletion
-- ends it, both wait for a message that has not come yet, and receipts move forward only.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');

-- The key of an edit is written from its sender's view, so that only its id counts.
CREATE FUNCTION pg_temp.edit(id text, text text, second integer, event text DEFAULT 'messages.edited') RETURNS jsonb
    LANGUAGE sql AS $$
    SELECT story.webhook(event, jsonb_build_object(
        'key', jsonb_build_object('id', id, 'fromMe', true, 'remoteJid', '5511988880000@s.whatsapp.net'),
        'type', 'MESSAGE_EDIT', 'editedMessage', jsonb_build_object('conversation', text),
        'timestampMs', (1761055200 + second)::bigint * 1000))
$$;
CREATE FUNCTION pg_temp.deletion(id text) RETURNS jsonb
    LANGUAGE sql AS $$SELECT story.webhook('messages.delete', jsonb_build_object('id', id, 'fromMe', false))$$;
CREATE FUNCTION pg_temp.revoke(id text) RETURNS jsonb
    LANGUAGE sql AS $$
    SELECT story.webhook('messages.edited', jsonb_build_object('key', jsonb_build_object('id', id), 'type', 'REVOKE'))
$$;
CREATE TEMP VIEW message AS
SELECT m.message_id, m.chat_id <> '' AS has_chat, m.text, m.edited_at - '2025-10-21 14:00:00+00' AS edited_after,
       m.deleted_at IS NOT NULL AS is_deleted, m.sender,
       (SELECT string_agg(e.event_type || ': ' || e.action_taken, ', ' ORDER BY e.id)
          FROM whaply.processed_events e WHERE e.message_id = m.message_id) AS events
  FROM whaply.messages m;

-- An edit in time: the open reply must see the new text.
SELECT * FROM story.tell(story.message('A', 'Quero 1'));
SELECT state, wanted FROM whaply.replies;
SELECT * FROM story.tell(pg_temp.edit('A', 'Quero 2', 20));
SELECT state, wanted FROM whaply.replies;
-- The same again, then an older one: the newest text stays, one event for all edits.
SELECT * FROM story.tell(pg_temp.edit('A', 'Quero 2', 20));
SELECT * FROM story.tell(pg_temp.edit('A', 'Quero 1 mesmo', 10));
SELECT * FROM story.tell(pg_temp.edit('A', 'Quero 3', 30, event => 'send.message.update'));
SELECT * FROM message WHERE message_id = 'A';
SELECT state, wanted FROM whaply.replies;

-- Deleted for everyone: told by both events, deleted once; the text stays for the owner.
SELECT * FROM story.tell(pg_temp.deletion('A'));
SELECT * FROM story.tell(pg_temp.revoke('A'));
SELECT * FROM story.tell(pg_temp.edit('A', 'Quero 4', 40));
SELECT * FROM message WHERE message_id = 'A';

-- Edits before their message, out of order: they wait, and the newest is what the message says.
SELECT * FROM story.tell(pg_temp.edit('B', 'azul escuro', 20));
SELECT * FROM story.tell(pg_temp.edit('B', 'azul', 10));
SELECT * FROM message WHERE message_id = 'B';
SELECT * FROM story.tell(story.message('B', 'verde', jid => '5511999990002@s.whatsapp.net'));
SELECT * FROM message WHERE message_id = 'B';

-- A deletion before its message: when it comes nobody answers it.
SELECT * FROM story.tell(pg_temp.deletion('C'));
SELECT * FROM story.tell(story.message('C', 'engano', jid => '5511999990003@s.whatsapp.net'));
SELECT * FROM message WHERE message_id = 'C';
-- The same by the other event, and for the owner's words, which pause all the same.
SELECT * FROM story.tell(pg_temp.revoke('D'));
SELECT * FROM story.tell(story.message('D', 'Eu atendo', from_me => true, jid => '5511999990004@s.whatsapp.net'));
SELECT * FROM message WHERE message_id = 'D';

-- An edit of the owner's own words changes the text and asks for no answer.
SELECT * FROM story.tell(story.message('E', 'Custa 40', from_me => true, jid => '5511999990005@s.whatsapp.net'));
SELECT * FROM story.tell(pg_temp.edit('E', 'Custa 45', 10));
SELECT * FROM message WHERE message_id = 'E';

-- Other protocol messages change nothing.
SELECT * FROM story.tell(story.webhook('messages.edited', '{"key": {"id": "E"}, "type": "EPHEMERAL_SETTING"}'));

-- Receipts come late and in any order: the status moves forward only, and an error yields to a delivery.
SELECT * FROM story.tell(story.message('F', 'Pronto', from_me => true, jid => '5511999990005@s.whatsapp.net',
    status => 'PENDING'));
CREATE FUNCTION pg_temp.receipt(receipt text, OUT action text, OUT duplicate boolean, OUT status_after text)
    LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb := whaply.ingest(story.webhook('messages.update', jsonb_build_object('keyId', 'F', 'status', receipt)));
BEGIN
    action := answer ->> 'action';
    duplicate := answer ->> 'duplicate';
    status_after := (SELECT status FROM whaply.messages WHERE message_id = 'F');
END
$$;
SELECT receipt, told.*
  FROM unnest('{ERROR,SERVER_ACK,DELIVERY_ACK,ERROR,READ,DELIVERY_ACK,PENDING,PLAYED,READ}'::text[])
       WITH ORDINALITY AS receipts (receipt, place),
       LATERAL pg_temp.receipt(receipt) AS told
 ORDER BY place;
-- Of a message nobody knows: nothing is stored.
SELECT action, duplicate FROM story.tell(story.webhook('messages.update', '{"keyId": "unknown", "status": "READ"}'));
SELECT count(*) FROM whaply.messages WHERE message_id = 'unknown';

ROLLBACK;
