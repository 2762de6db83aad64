-- The smallest peer of ingest: a function that only inserts the rows of a customer's message. It looks at
-- nothing that is there, decides nothing, and knows one kind of message.

CREATE SCHEMA IF NOT EXISTS peer;

CREATE OR REPLACE FUNCTION peer.rows_only(payload jsonb) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    data jsonb := payload -> 'data';
    chat text := data #>> '{key,remoteJid}';
    message text := data #>> '{key,id}';
    sent timestamptz := to_timestamp((data ->> 'messageTimestamp')::float8);
    tenant integer;
BEGIN
    SELECT id INTO tenant FROM whaply.tenants WHERE instance_name = payload ->> 'instance';
    INSERT INTO whaply.sessions AS s (tenant_id, chat_id, last_message_at, contact_name, reply_jid)
    VALUES (tenant, chat, sent, data ->> 'pushName', chat)
    ON CONFLICT (tenant_id, chat_id) DO UPDATE
       SET last_message_at = excluded.last_message_at, updated_at = excluded.updated_at;
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, message_type, text, raw, sent_at, sender, status)
    VALUES (tenant, chat, message, data ->> 'messageType', data #>> '{message,conversation}', payload - 'apikey', sent, 'customer',
            data ->> 'status')
    ON CONFLICT (tenant_id, message_id) DO NOTHING;
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
    VALUES (tenant, message, payload ->> 'event', 'ai_queued')
    ON CONFLICT (tenant_id, message_id, event_type) DO NOTHING;
    INSERT INTO whaply.replies AS r (tenant_id, chat_id, due_at, first_sent_at)
    VALUES (tenant, chat, clock_timestamp() + interval '5 s', sent)
    ON CONFLICT (tenant_id, chat_id) WHERE state IN ('waiting', 'generating', 'sending') DO UPDATE
       SET wanted = r.wanted + 1, due_at = excluded.due_at;
    RETURN jsonb_build_object('action', 'ai_queued', 'duplicate', false);
END
$$;
