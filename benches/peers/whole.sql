-- The peer of ingest: the whole of it as PL/pgSQL does it, on the same tables. Event classes, who spoke, the
-- text of every kind of message, aliases, duplicates, takeover and pause, the queue of replies with its
-- debounce, receipts, edits and deletions. Left out: commands, greetings, echoes of sends in flight, merging
-- of two sessions.

CREATE SCHEMA IF NOT EXISTS peer;

-- The message inside the wrappers (ephemeral, view once, caption).
CREATE OR REPLACE FUNCTION peer.unwrapped(message jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    inner_message jsonb;
BEGIN
    FOR depth IN 1..5 LOOP
        inner_message := coalesce(
            message #> '{ephemeralMessage,message}', message #> '{viewOnceMessage,message}',
            message #> '{viewOnceMessageV2,message}', message #> '{viewOnceMessageV2Extension,message}',
            message #> '{documentWithCaptionMessage,message}', message #> '{editedMessage,message}');
        EXIT WHEN inner_message IS NULL;
        message := inner_message;
    END LOOP;
    RETURN message;
END
$$;

-- What it says: question, reaction, nothing_to_answer, placeholder; and the words.
CREATE OR REPLACE FUNCTION peer.content_of(message jsonb, OUT class text, OUT words text)
    LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    class := 'question';
    CASE
        WHEN message ? 'conversation' THEN words := message ->> 'conversation';
        WHEN message ? 'extendedTextMessage' THEN words := message #>> '{extendedTextMessage,text}';
        WHEN message ? 'imageMessage' THEN words := message #>> '{imageMessage,caption}';
        WHEN message ? 'videoMessage' THEN words := message #>> '{videoMessage,caption}';
        WHEN message ? 'ptvMessage' THEN words := NULL;
        WHEN message ? 'audioMessage' THEN
            words := nullif(btrim(regexp_replace(message ->> 'speechToText', '^\s*\[audio\]', '')), 'null');
        WHEN message ? 'documentMessage' THEN words := message #>> '{documentMessage,caption}';
        WHEN message ? 'locationMessage' THEN words := NULL;
        WHEN message ? 'liveLocationMessage' THEN words := message #>> '{liveLocationMessage,caption}';
        WHEN message ?| ARRAY['contactMessage', 'contactsArrayMessage'] THEN words := NULL;
        WHEN message ? 'orderMessage' THEN words := message #>> '{orderMessage,message}';
        WHEN message ? 'productMessage' THEN words := message #>> '{productMessage,body}';
        WHEN message ? 'buttonsResponseMessage' THEN
            words := coalesce(message #>> '{buttonsResponseMessage,selectedDisplayText}',
                              message #>> '{buttonsResponseMessage,selectedButtonId}');
        WHEN message ? 'templateButtonReplyMessage' THEN
            words := coalesce(message #>> '{templateButtonReplyMessage,selectedDisplayText}',
                              message #>> '{templateButtonReplyMessage,selectedId}');
        WHEN message ? 'listResponseMessage' THEN
            words := coalesce(nullif(concat_ws(E'\n', message #>> '{listResponseMessage,title}',
                                               message #>> '{listResponseMessage,description}'), ''),
                              message #>> '{listResponseMessage,singleSelectReply,selectedRowId}');
        WHEN message ? 'interactiveResponseMessage' THEN
            words := coalesce(message #>> '{interactiveResponseMessage,body,text}',
                              (message #>> '{interactiveResponseMessage,nativeFlowResponseMessage,paramsJson}')::jsonb ->> 'title');
        WHEN message ? 'buttonsMessage' THEN words := message #>> '{buttonsMessage,contentText}';
        WHEN message ? 'listMessage' THEN
            words := concat_ws(E'\n', message #>> '{listMessage,title}', message #>> '{listMessage,description}');
        WHEN message ? 'interactiveMessage' THEN words := message #>> '{interactiveMessage,body,text}';
        WHEN message ? 'templateMessage' THEN
            words := coalesce(message #>> '{templateMessage,hydratedTemplate,hydratedContentText}',
                              message #>> '{templateMessage,hydratedFourRowTemplate,hydratedContentText}');
        WHEN message ?| ARRAY['reactionMessage', 'encReactionMessage'] THEN class := 'reaction';
        WHEN message ?| ARRAY['stickerMessage', 'lottieStickerMessage', 'albumMessage', 'pollUpdateMessage',
                              'pollCreationMessage', 'pollCreationMessageV2', 'pollCreationMessageV3'] THEN
            class := 'nothing_to_answer';
        ELSE class := 'placeholder';
    END CASE;
    words := nullif(words, '');
    IF words IS NULL AND message ?| ARRAY['conversation', 'extendedTextMessage'] THEN class := 'placeholder'; END IF;
END
$$;

-- A JID without its device.
CREATE OR REPLACE FUNCTION peer.jid(written text) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN strpos(written, ':') = 0 THEN written ELSE regexp_replace(written, '(:\d+|_\d+(:\d+)?)@', '@') END;

CREATE OR REPLACE FUNCTION peer.change(tenant integer, event text, data jsonb) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    message text := coalesce(data #>> '{key,id}', data ->> 'keyId');
    at timestamptz := coalesce(to_timestamp((data ->> 'timestampMs')::float8 / 1000), clock_timestamp());
    changed boolean;
BEGIN
    IF event = 'messages.update' THEN
        UPDATE whaply.messages SET status = data ->> 'status'
         WHERE tenant_id = tenant AND message_id = message
           AND array_position(ARRAY['PENDING', 'SERVER_ACK', 'ERROR', 'DELIVERY_ACK', 'READ', 'PLAYED'], data ->> 'status')
               > coalesce(array_position(ARRAY['PENDING', 'SERVER_ACK', 'ERROR', 'DELIVERY_ACK', 'READ', 'PLAYED'], status), 0);
        RETURN jsonb_build_object('action', 'receipt', 'duplicate', NOT FOUND);
    ELSIF event = 'messages.edited' THEN
        UPDATE whaply.messages SET text = data #>> '{editedMessage,conversation}', edited_at = at
         WHERE tenant_id = tenant AND message_id = message AND coalesce(edited_at < at, true);
    ELSE
        UPDATE whaply.messages SET deleted_at = at
         WHERE tenant_id = tenant AND message_id = message AND deleted_at IS NULL;
    END IF;
    changed := FOUND;
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
    VALUES (tenant, message, event, CASE event WHEN 'messages.edited' THEN 'edited' ELSE 'deleted' END)
    ON CONFLICT (tenant_id, message_id, event_type) DO NOTHING;
    RETURN jsonb_build_object('action', event, 'duplicate', NOT changed);
END
$$;

CREATE OR REPLACE FUNCTION peer.whole(payload jsonb) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    event text := replace(replace(lower(payload ->> 'event'), '_', '.'), '-', '.');
    data jsonb := payload -> 'data';
    now timestamptz := clock_timestamp();
    tenant record;
    session record;
    message text;
    chat text;
    alt text;
    from_me boolean;
    sent timestamptz;
    content record;
    action text;
    spoken_by text := 'customer';
    reply bigint;
BEGIN
    IF event IS NULL OR payload ->> 'instance' IS NULL THEN
        RAISE EXCEPTION 'no event or no instance' USING ERRCODE = '22023';
    END IF;
    SELECT t.id, t.mode, coalesce(t.groups, false) AS groups, coalesce(t.on_other_sender, 'pause') AS on_other_sender,
           coalesce(t.debounce, interval '5 s') AS debounce, coalesce(t.debounce_max, interval '30 s') AS debounce_max,
           coalesce(t.age_limit, interval '1 hour') AS age_limit,
           coalesce(t.auto_resume_after, interval '2 hours') AS auto_resume_after,
           t.auto_reply_texts, t.connection_state
      INTO tenant FROM whaply.tenants t WHERE t.instance_name = payload ->> 'instance';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown instance' USING ERRCODE = 'P0002';
    END IF;

    CASE event
        WHEN 'messages.upsert', 'send.message' THEN NULL;
        WHEN 'messages.update', 'messages.edited', 'messages.delete', 'send.message.update' THEN
            RETURN peer.change(tenant.id, event, data);
        WHEN 'connection.update' THEN
            UPDATE whaply.tenants SET connection_state = data ->> 'state'
             WHERE id = tenant.id AND connection_state IS DISTINCT FROM data ->> 'state';
            RETURN jsonb_build_object('action', 'line', 'duplicate', false);
        ELSE RETURN jsonb_build_object('action', 'ignored_event', 'duplicate', false);
    END CASE;

    IF jsonb_typeof(data) = 'array' THEN data := data -> 0; END IF;
    message := data #>> '{key,id}';
    chat := peer.jid(data #>> '{key,remoteJid}');
    alt := peer.jid(data #>> '{key,remoteJidAlt}');
    from_me := coalesce((data #>> '{key,fromMe}')::boolean, false) OR event = 'send.message';
    IF message IS NULL OR chat IS NULL THEN
        RAISE EXCEPTION 'no message id' USING ERRCODE = '22023';
    END IF;
    sent := least(to_timestamp((data ->> 'messageTimestamp')::float8), now);

    SELECT e.action_taken INTO action FROM whaply.processed_events e
     WHERE e.tenant_id = tenant.id AND e.message_id = message AND e.event_type = event;
    IF FOUND THEN
        RETURN jsonb_build_object('action', action, 'duplicate', true, 'tenant_id', tenant.id, 'message_id', message);
    END IF;

    action := CASE WHEN chat LIKE '%@g.us' AND NOT tenant.groups THEN 'ignored_group'
                   WHEN chat LIKE '%@broadcast' THEN 'ignored_broadcast'
                   WHEN chat LIKE '%@newsletter' THEN 'ignored_newsletter'
                   WHEN chat LIKE '%@bot' THEN 'ignored_bot'
                   WHEN chat = peer.jid(payload ->> 'sender') THEN 'ignored_self' END;
    IF action IS NOT NULL THEN
        INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
        VALUES (tenant.id, message, event, action) ON CONFLICT DO NOTHING;
        RETURN jsonb_build_object('action', action, 'duplicate', false, 'tenant_id', tenant.id, 'message_id', message);
    END IF;
    IF tenant.connection_state <> 'open' THEN
        UPDATE whaply.tenants SET connection_state = 'open' WHERE id = tenant.id;
    END IF;

    -- The chat under any of its names, locked.
    SELECT s.chat_id, s.is_paused AND coalesce(s.paused_until > now, true) AS is_paused INTO session
      FROM whaply.sessions s
     WHERE s.tenant_id = tenant.id
       AND s.chat_id IN (chat, alt, (SELECT a.chat_id FROM whaply.chat_aliases a WHERE a.tenant_id = tenant.id AND a.jid = chat),
                         (SELECT a.chat_id FROM whaply.chat_aliases a WHERE a.tenant_id = tenant.id AND a.jid = alt))
     ORDER BY s.id LIMIT 1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        IF chat LIKE '%@lid' AND alt LIKE '%@s.whatsapp.net' THEN
            chat := alt;
            alt := peer.jid(data #>> '{key,remoteJid}');
        END IF;
        INSERT INTO whaply.sessions (tenant_id, chat_id) VALUES (tenant.id, chat) ON CONFLICT DO NOTHING;
        SELECT s.chat_id, s.is_paused INTO session
          FROM whaply.sessions s WHERE s.tenant_id = tenant.id AND s.chat_id = chat FOR NO KEY UPDATE;
        IF alt IS NOT NULL THEN
            INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES (tenant.id, alt, chat) ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    chat := session.chat_id;
    content := peer.content_of(peer.unwrapped(data -> 'message'));

    IF from_me THEN
        spoken_by := CASE event WHEN 'send.message' THEN 'other' ELSE 'owner' END;
        action := CASE
            WHEN EXISTS (SELECT FROM whaply.deliveries d WHERE d.tenant_id = tenant.id AND d.message_id = message) THEN 'own_echo'
            WHEN content.class = 'reaction' THEN 'ignored_type'
            WHEN content.words = ANY (tenant.auto_reply_texts) THEN 'ignored_auto_reply'
            WHEN sent + tenant.auto_resume_after < now THEN 'ignored_old'
            WHEN event = 'send.message' THEN 'other_sender'
            ELSE 'paused' END;
    ELSE
        action := CASE
            WHEN content.class <> 'question' THEN 'ignored_type'
            WHEN sent + tenant.age_limit < now THEN 'ignored_old'
            WHEN session.is_paused THEN 'ignored_paused'
            WHEN tenant.mode = 'off' THEN 'ignored_mode'
            ELSE 'ai_queued' END;
    END IF;

    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, message_type, text, raw, sent_at, sender, status)
    VALUES (tenant.id, chat, message, from_me, left(data ->> 'messageType', 50), content.words,
            (payload - 'apikey') #- '{data,message,base64}' #- '{data,message,imageMessage,jpegThumbnail}'
                #- '{data,message,videoMessage,jpegThumbnail}', sent, spoken_by, data ->> 'status')
    ON CONFLICT (tenant_id, message_id) DO NOTHING;
    INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
    VALUES (tenant.id, message, event, action)
    ON CONFLICT (tenant_id, message_id, event_type) DO NOTHING;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('action', action, 'duplicate', true, 'tenant_id', tenant.id, 'message_id', message);
    END IF;

    IF NOT from_me THEN
        UPDATE whaply.sessions s
           SET last_message_at = greatest(s.last_message_at, sent), reply_jid = peer.jid(data #>> '{key,remoteJid}'),
               contact_name = coalesce(data ->> 'pushName', s.contact_name), updated_at = now
         WHERE s.tenant_id = tenant.id AND s.chat_id = chat;
    ELSIF action = 'paused' OR (action = 'other_sender' AND tenant.on_other_sender = 'pause') THEN
        UPDATE whaply.sessions s
           SET is_paused = true, pause_reason = CASE action WHEN 'paused' THEN 'human_takeover' ELSE 'other_sender' END,
               last_human_at = greatest(s.last_human_at, sent), updated_at = now
         WHERE s.tenant_id = tenant.id AND s.chat_id = chat;
        UPDATE whaply.replies SET state = 'cancelled', finished_at = now
         WHERE tenant_id = tenant.id AND chat_id = chat AND state IN ('waiting', 'generating', 'sending');
        UPDATE whaply.deliveries SET state = 'cancelled', finished_at = now
         WHERE tenant_id = tenant.id AND chat_id = chat AND state = 'pending';
    END IF;
    IF action = 'ai_queued' THEN
        INSERT INTO whaply.replies AS r (tenant_id, chat_id, due_at, first_sent_at)
        VALUES (tenant.id, chat, now + tenant.debounce, sent)
        ON CONFLICT (tenant_id, chat_id) WHERE state IN ('waiting', 'generating', 'sending') DO UPDATE
           SET wanted = r.wanted + 1, first_sent_at = least(r.first_sent_at, excluded.first_sent_at),
               due_at = CASE WHEN r.state <> 'waiting' THEN r.due_at
                             ELSE least(excluded.due_at, r.created_at + tenant.debounce_max) END
        RETURNING id INTO reply;
    END IF;
    RETURN jsonb_build_object('action', action, 'duplicate', false, 'tenant_id', tenant.id, 'chat_id', chat,
                              'message_id', message, 'reply_id', reply);
END
$$;
