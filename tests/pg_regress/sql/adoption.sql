-- Guards adopt_tenants(): what is too old to be sent is given up at once, by each tenant's own reply_expiry and before
-- anything can be sent; what was under way is taken up; and what is at home already is left alone.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, reply_expiry)
VALUES ('copied', 'http://127.0.0.1:1', NULL), ('patient', 'http://127.0.0.1:1', '3 hours'), ('here', 'http://127.0.0.1:1', NULL);
UPDATE whaply.tenants SET home = 'elsewhere' WHERE instance_name <> 'here';
-- An hour is more than the setting, a minute is less.
SHOW whaply.reply_expiry;
CREATE TEMP TABLE open_work AS
SELECT t.id AS tenant_id, t.instance_name, age, state, format('%s of %s', state, age) AS chat_id, now() - age::interval AS at
  FROM whaply.tenants t, unnest('{1 minute,1 hour}'::text[]) AS age,
       unnest('{waiting,generating,sending,pending,in flight,uncertain}'::text[]) AS state;
INSERT INTO whaply.sessions (tenant_id, chat_id) SELECT tenant_id, chat_id FROM open_work;
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender)
SELECT tenant_id, chat_id, chat_id, 'Oi?', 'customer' FROM open_work;
INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
SELECT tenant_id, chat_id, 'messages.upsert', 'ai_queued' FROM open_work WHERE state IN ('waiting', 'generating', 'sending');
INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, created_at, claimed_at, lease_until)
SELECT tenant_id, chat_id, state, at, at, at, at, CASE state WHEN 'generating' THEN at + interval '2 minutes' END
  FROM open_work WHERE state IN ('waiting', 'generating', 'sending');
UPDATE whaply.messages m SET reply_id = r.id FROM whaply.replies r WHERE r.tenant_id = m.tenant_id AND r.chat_id = m.chat_id;
-- An answer of two parts, of which the first is on its way; and what an operator wrote.
INSERT INTO whaply.deliveries (tenant_id, chat_id, reply_id, kind, text, state, due_at, attempted_at, created_at)
SELECT o.tenant_id, o.chat_id, r.id, 'reply', 'Sim', part, o.at, CASE part WHEN 'sending' THEN o.at END, o.at
  FROM open_work o JOIN whaply.replies r USING (tenant_id, chat_id), unnest('{sending,pending}'::text[]) AS part
 WHERE o.state = 'sending'
 UNION ALL
SELECT tenant_id, chat_id, NULL, 'operator', 'Oi', CASE state WHEN 'in flight' THEN 'sending' ELSE state END, at,
       CASE state WHEN 'pending' THEN NULL ELSE at END, at
  FROM open_work WHERE state IN ('pending', 'in flight', 'uncertain');

CREATE TEMP VIEW reply AS
SELECT t.instance_name, r.chat_id, r.state, e.action_taken, r.finished_at IS NOT NULL AS finished, r.error
  FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id
  JOIN whaply.messages m ON m.reply_id = r.id
  JOIN whaply.processed_events e ON e.tenant_id = m.tenant_id AND e.message_id = m.message_id
 ORDER BY t.id, r.chat_id;
CREATE TEMP VIEW delivery AS
SELECT t.instance_name, d.chat_id, d.kind, d.state, d.finished_at IS NOT NULL AS finished, d.error
  FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id
 ORDER BY t.id, d.chat_id, d.id;
SELECT count(*) FILTER (WHERE subject = 'home') AS copied FROM whaply.health;
SELECT whaply.adopt_tenants() AS adopted;
SELECT * FROM reply;
SELECT * FROM delivery;
-- What Evolution is asked about, it is asked about once the call has ended by itself.
SELECT bool_and(d.due_at > now()) AS later FROM whaply.deliveries d JOIN open_work o USING (tenant_id, chat_id)
 WHERE d.error = 'the database was copied during the call';
SELECT count(*) FILTER (WHERE subject = 'home') AS copied FROM whaply.health;
SELECT whaply.adopt_tenants() AS again;
ROLLBACK;
