-- Helpers for the other tests: scripts/test-regress runs this file first, whichever it runs.
-- They build what Evolution API 2.3.6 posts, and print what followed without ids and times.

CREATE SCHEMA story;
GRANT USAGE ON SCHEMA story TO PUBLIC;

-- Any webhook.
CREATE FUNCTION story.webhook(event text, data jsonb, instance text DEFAULT 'loja') RETURNS jsonb
    LANGUAGE sql AS $$
    SELECT jsonb_build_object('event', event, 'instance', instance, 'data', data,
                              'sender', '5511988880000@s.whatsapp.net', 'apikey', NULL)
$$;

-- A message of a customer, or of the business if from_me; its text, or the content it has instead.
CREATE FUNCTION story.message(
    id text,
    text text DEFAULT 'Oi',
    event text DEFAULT 'messages.upsert',
    from_me boolean DEFAULT false,
    jid text DEFAULT '5511999990001@s.whatsapp.net',
    alt text DEFAULT NULL,
    age interval DEFAULT '0',
    content jsonb DEFAULT NULL,
    type text DEFAULT 'conversation',
    status text DEFAULT NULL,
    addressing text DEFAULT 'pn',
    instance text DEFAULT 'loja') RETURNS jsonb
    LANGUAGE sql AS $$
    SELECT story.webhook(event, instance => instance, data => jsonb_build_object(
        'key', jsonb_strip_nulls(jsonb_build_object(
            'id', id, 'remoteJid', jid, 'remoteJidAlt', alt, 'fromMe', from_me, 'addressingMode', addressing)),
        'pushName', CASE WHEN from_me THEN 'Loja' ELSE 'Maria' END,
        'status', coalesce(status, CASE WHEN from_me THEN 'SERVER_ACK' ELSE 'DELIVERY_ACK' END),
        'message', coalesce(content, jsonb_build_object('conversation', text)),
        'messageType', type,
        'messageTimestamp', floor(extract(epoch FROM clock_timestamp() - age))))
$$;

-- A message that went through Evolution's API.
CREATE FUNCTION story.sent_by_api(
    id text,
    text text DEFAULT 'Posso ajudar?',
    jid text DEFAULT '5511999990001@s.whatsapp.net',
    age interval DEFAULT '0') RETURNS jsonb
    LANGUAGE sql AS $$
    SELECT story.message(id, text, event => 'send.message', from_me => true, jid => jid, age => age,
                         status => 'PENDING', addressing => NULL)
$$;

-- The state of a chat: none, open, or paused and why.
CREATE FUNCTION story.session(chat text, instance text DEFAULT 'loja') RETURNS text
    LANGUAGE sql AS $$
    SELECT coalesce((
        SELECT CASE WHEN s.is_paused THEN 'paused: ' || s.pause_reason ELSE 'open' END
               || CASE WHEN s.paused_until IS NOT NULL THEN ', for a time' ELSE '' END
          FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id
         WHERE s.chat_id = chat AND t.instance_name = instance), 'none')
$$;

-- The states of a chat's replies, the oldest first.
CREATE FUNCTION story.replies(chat text) RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(state, ', ' ORDER BY id) FROM whaply.replies WHERE chat_id = chat
$$;

-- Takes a webhook, and tells who spoke and what followed.
CREATE FUNCTION story.tell(
    payload jsonb,
    OUT action text, OUT duplicate boolean, OUT sender text, OUT session text, OUT replies text)
    LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb := whaply.ingest(payload);
    chat text;
BEGIN
    action := answer ->> 'action';
    duplicate := answer ->> 'duplicate';
    SELECT m.sender, m.chat_id INTO sender, chat
      FROM whaply.messages m
     WHERE m.message_id = answer ->> 'message_id' AND m.tenant_id = (answer ->> 'tenant_id')::integer;
    session := story.session(coalesce(answer ->> 'chat_id', chat));
    replies := story.replies(coalesce(answer ->> 'chat_id', chat));
END
$$;

-- The ERROR that a statement ends with.
CREATE FUNCTION story.error_of(
    statement text,
    OUT code text, OUT message text, OUT hint text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;

-- How many rows each table has.
CREATE FUNCTION story.rows(
    OUT sessions bigint, OUT messages bigint, OUT processed_events bigint, OUT chat_aliases bigint,
    OUT replies bigint, OUT deliveries bigint)
    LANGUAGE sql AS $$
    SELECT (SELECT count(*) FROM whaply.sessions), (SELECT count(*) FROM whaply.messages),
           (SELECT count(*) FROM whaply.processed_events), (SELECT count(*) FROM whaply.chat_aliases),
           (SELECT count(*) FROM whaply.replies), (SELECT count(*) FROM whaply.deliveries)
$$;
