-- The floor: the rows of a batch of customers' messages by one statement. The client has folded the messages
-- of a chat ($1 to $6, one place for each chat; $7 to $13, one for each message); nothing is decided.
WITH chats AS (
    INSERT INTO whaply.sessions AS s (tenant_id, chat_id, last_message_at, contact_name, reply_jid)
    SELECT tenant_id, chat_id, sent_at, contact_name, chat_id
      FROM unnest($1::int[], $2::text[], $3::timestamptz[], $4::text[]) AS c (tenant_id, chat_id, sent_at, contact_name)
    ON CONFLICT (tenant_id, chat_id) DO UPDATE
       SET last_message_at = greatest(s.last_message_at, excluded.last_message_at), reply_jid = excluded.reply_jid,
           contact_name = excluded.contact_name, updated_at = excluded.updated_at),
stored AS (
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, message_type, text, raw, sent_at, sender, status)
    SELECT tenant_id, chat_id, message_id, 'conversation', text, raw::jsonb, sent_at, 'customer', 'DELIVERY_ACK'
      FROM unnest($7::int[], $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[])
           AS m (tenant_id, chat_id, message_id, text, raw, sent_at)
    ON CONFLICT (tenant_id, message_id) DO NOTHING),
noted AS (
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
    SELECT tenant_id, message_id, 'messages.upsert', $13::text
      FROM unnest($7::int[], $9::text[]) AS m (tenant_id, message_id)
    ON CONFLICT (tenant_id, message_id, event_type) DO NOTHING)
INSERT INTO whaply.replies AS r (tenant_id, chat_id, due_at, first_sent_at, wanted)
SELECT tenant_id, chat_id, due_at, sent_at, questions
  FROM unnest($1::int[], $2::text[], $3::timestamptz[], $5::timestamptz[], $6::int[])
       AS c (tenant_id, chat_id, sent_at, due_at, questions)
ON CONFLICT (tenant_id, chat_id) WHERE state IN ('waiting', 'generating', 'sending') DO UPDATE
   SET wanted = r.wanted + excluded.wanted, first_sent_at = least(r.first_sent_at, excluded.first_sent_at),
       due_at = least(excluded.due_at, r.created_at + interval '30 s')
