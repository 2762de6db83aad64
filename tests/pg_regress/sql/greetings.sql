-- Guards that greetings and away messages of WhatsApp Business are learnt: they look exactly like the
-- owner, but come at once and in the same words in chat after chat.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1'),
                                                                  ('outra', 'http://127.0.0.1:1');
-- A customer writes, and something of the business answers so many seconds later.
CREATE FUNCTION pg_temp.greeted(chat int, words text, after int DEFAULT 2, instance text DEFAULT 'loja')
    RETURNS TABLE (action text, session text, replies text) LANGUAGE sql AS $$
    SELECT whaply.ingest(story.message('Q' || chat || instance, jid => '55119999900' || chat || '@s.whatsapp.net',
                                       age => '1 minute', instance => instance));
    SELECT t.action, t.session, t.replies
      FROM story.tell(story.message('G' || chat || instance, words, from_me => true, instance => instance,
                                    jid => '55119999900' || chat || '@s.whatsapp.net',
                                    age => make_interval(secs => 60 - after))) AS t
$$;
CREATE TEMP VIEW asked AS SELECT instance_name, problem FROM whaply.health WHERE subject = 'greeting';

-- The first and the second time it takes the chat over, and from the second on health asks.
SELECT * FROM pg_temp.greeted(10, 'Olá! Abrimos às nove.');
SELECT count(*) AS asked FROM asked;
SELECT * FROM pg_temp.greeted(11, 'Olá! Abrimos às nove.');
SELECT * FROM asked;
-- What takes longer than a machine, or comes in another tenant, is no repeat.
SELECT * FROM pg_temp.greeted(12, 'Olá! Abrimos às nove.', after => 11);
SELECT * FROM pg_temp.greeted(13, 'Olá! Abrimos às nove.', instance => 'outra');
SELECT auto_reply_texts FROM whaply.tenants ORDER BY id;
-- The third time it is known, and the pauses it caused are lifted; of those words the slow one, too.
SELECT * FROM pg_temp.greeted(14, 'Olá! Abrimos às nove.');
SELECT instance_name, auto_reply_texts FROM whaply.tenants ORDER BY id;
SELECT s.chat_id, story.session(s.chat_id, t.instance_name), s.last_human_at IS NULL AS nobody_spoke
  FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id ORDER BY s.id;
SELECT m.message_id, m.sender, e.action_taken
  FROM whaply.messages m JOIN whaply.processed_events e USING (tenant_id, message_id)
 WHERE m.from_me ORDER BY m.id;
SELECT count(*) AS asked FROM asked;

-- A pause that a human keeps by words of their own is not lifted.
SELECT * FROM pg_temp.greeted(20, 'Voltamos amanhã');
SELECT action FROM story.tell(story.message('H20', 'Estou vendo', from_me => true, jid => '5511999990020@s.whatsapp.net'));
SELECT * FROM pg_temp.greeted(21, 'Voltamos amanhã');
SELECT * FROM pg_temp.greeted(22, 'Voltamos amanhã');
SELECT chat, story.session('55119999900' || chat || '@s.whatsapp.net') FROM generate_series(20, 22) AS chat;

-- The greeting may come before the message that it answers: that one finds it out.
SELECT * FROM pg_temp.greeted(30, 'Já falamos!');
SELECT * FROM pg_temp.greeted(31, 'Já falamos!');
SELECT action FROM story.tell(story.message('G32', 'Já falamos!', from_me => true, jid => '5511999990032@s.whatsapp.net',
                                            age => '30 s'));
SELECT * FROM story.tell(story.message('Q32', jid => '5511999990032@s.whatsapp.net', age => '31 s'));

-- The same words of a person, typed at their leisure, stay a person's.
SELECT * FROM pg_temp.greeted(40, 'Bom dia', after => 20);
SELECT * FROM pg_temp.greeted(41, 'Bom dia', after => 25);
SELECT * FROM pg_temp.greeted(42, 'Bom dia', after => 30);
SELECT count(*) AS asked FROM asked;

-- An away message that comes as promptly after our own words, the assistant's or an operator's, is one too.
CREATE FUNCTION pg_temp.away(chat int, words text, after text, seconds int DEFAULT 3) RETURNS TABLE (action text, session text)
    LANGUAGE sql AS $$
    INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, sent_at, sender)
    SELECT id, '55119999900' || chat || '@s.whatsapp.net', 'W' || chat, true, 'Pois não?', now() - interval '1 minute', after
      FROM whaply.tenants WHERE instance_name = 'loja';
    SELECT t.action, t.session FROM story.tell(story.message('V' || chat, words, from_me => true,
        jid => '55119999900' || chat || '@s.whatsapp.net', age => make_interval(secs => 60 - seconds))) AS t
$$;
SELECT * FROM pg_temp.away(60, 'Estamos fechados', after => 'assistant');
SELECT * FROM pg_temp.away(61, 'Estamos fechados', after => 'operator', seconds => 11);
SELECT * FROM pg_temp.away(62, 'Estamos fechados', after => 'operator', seconds => 9);
-- What is the owner's own, or another client's, makes nothing prompt.
SELECT * FROM pg_temp.away(63, 'Estamos fechados', after => 'owner');
SELECT * FROM pg_temp.away(64, 'Estamos fechados', after => 'other');
SELECT * FROM pg_temp.away(65, 'Estamos fechados', after => 'assistant');
SELECT chat, story.session('55119999900' || chat || '@s.whatsapp.net') FROM generate_series(60, 65) AS chat;

-- Entered by a person, who answers what health asks: the clock applies it.
SELECT * FROM pg_temp.greeted(50, 'Feliz Natal!');
UPDATE whaply.tenants SET auto_reply_texts = auto_reply_texts || '{Feliz Natal!}' WHERE instance_name = 'loja';
SELECT story.session('5511999990050@s.whatsapp.net');
SELECT whaply.auto_resume() ->> 'deleted_events' AS deleted_events;
SELECT story.session('5511999990050@s.whatsapp.net');

ROLLBACK;
