-- Guards that updated_at of tenants and sessions moves on every update, by whomever, and that who
-- sets it keeps the say.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1') RETURNING id AS loja \gset
INSERT INTO whaply.sessions (tenant_id, chat_id) VALUES (:loja, '5511999990001@s.whatsapp.net');
CREATE TEMP VIEW moved AS
SELECT 'tenants' AS relation, updated_at > created_at AS has_moved, created_at = now() AS is_created_now FROM whaply.tenants
UNION ALL
SELECT 'sessions', updated_at > created_at, created_at = now() FROM whaply.sessions;
CREATE TEMP TABLE before (relation text, updated_at timestamptz);

SELECT * FROM moved ORDER BY relation;

-- By hand.
UPDATE whaply.tenants SET system_prompt = 'Be short.';
UPDATE whaply.sessions SET contact_name = 'Maria';
SELECT * FROM moved ORDER BY relation;

-- Again, and by whaply itself.
INSERT INTO before SELECT 'tenants', updated_at FROM whaply.tenants UNION ALL SELECT 'sessions', updated_at FROM whaply.sessions;
SELECT whaply.pause_session('loja', '5511999990001');
SELECT action FROM story.tell(story.webhook('connection.update', '{"state": "close"}'));
SELECT b.relation, b.updated_at < coalesce(t.updated_at, s.updated_at) AS has_moved
  FROM before b
  LEFT JOIN whaply.tenants t ON b.relation = 'tenants'
  LEFT JOIN whaply.sessions s ON b.relation = 'sessions'
 ORDER BY b.relation;

-- A given value stays.
UPDATE whaply.tenants SET updated_at = '2025-10-21 14:00:00+00', mode = 'off';
UPDATE whaply.sessions SET updated_at = '2025-10-21 14:00:00+00', contact_name = 'Ana';
SELECT t.updated_at AS tenants, s.updated_at AS sessions FROM whaply.tenants t, whaply.sessions s;

ROLLBACK;
