-- Guards connect_instance and what tells how far an instance is, as far as it needs no Evolution: arguments
-- and errors, one open request a tenant, what the webhook changes, the drawing, and who may do it.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('loja', 'http://127.0.0.1:1');
CREATE FUNCTION pg_temp.event(event text, data jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT whaply.ingest(jsonb_build_object('event', event, 'instance', 'loja', 'data', data)) ->> 'action' $$;
CREATE FUNCTION pg_temp.code(code text, pairing text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.event('qrcode.updated', jsonb_build_object('qrcode', jsonb_build_object(
        'instance', 'loja', 'pairingCode', pairing, 'code', code, 'base64', 'data:image/png;base64,AAAA'))) $$;
CREATE TEMP VIEW request AS
SELECT row_number() OVER (ORDER BY id) AS request, state, error, qr = whaply.draw_qr('2@a') AS qr_of_a,
       qr = whaply.draw_qr('2@b') AS qr_of_b, pairing_code, finished_at IS NOT NULL AS finished
  FROM whaply.instance_requests ORDER BY id;

-- What cannot be meant. No message repeats the URL: it may hold a password.
SELECT call, code, message
  FROM unnest(ARRAY[
       $$SELECT whaply.connect_instance(NULL, 'https://db.example.com/webhook')$$,
       $$SELECT whaply.connect_instance('loja', NULL)$$,
       $$SELECT whaply.connect_instance('nobody', 'https://db.example.com/webhook')$$,
       $$SELECT whaply.connect_instance('loja', '')$$,
       $$SELECT whaply.connect_instance('loja', 'ftp://user:secret@host')$$,
       $$SELECT whaply.connect_instance('loja', 'http://' || repeat('a', 500))$$,
       $$SELECT whaply.instance_state('nobody')$$,
       $$SELECT whaply.instance_qr(NULL)$$]) AS call, story.error_of(call);
SELECT count(*) AS requests FROM whaply.connect_requests;

-- Nothing is known; then a request is open; another takes its place.
SELECT whaply.instance_state('loja') AS state, whaply.instance_qr('loja') AS qr;
SELECT whaply.connect_instance('loja', ' https://db.example.com/webhook ') > 0 AS asked;
SELECT whaply.instance_state('loja') AS state, whaply.instance_qr('loja') AS qr;
SELECT webhook_url FROM whaply.connect_requests;
SELECT pg_temp.code('2@a');
SELECT * FROM request;
SELECT whaply.connect_instance('loja', 'http://127.0.0.1:8480/webhook') > 0 AS asked;
SELECT * FROM request;

-- A person is to scan: the webhook brings the newest code, and takes it away when it was scanned.
UPDATE whaply.connect_requests SET state = 'scan_qr' WHERE state = 'waiting';
SELECT pg_temp.code('2@a', 'WZYEH1YY');
SELECT * FROM request;
SELECT pg_temp.code('2@b');
SELECT * FROM request;
SELECT whaply.instance_state('loja') AS state, whaply.instance_qr('loja') = whaply.draw_qr('2@b') AS shown;
SELECT pg_temp.event('connection.update', '{"state": "open"}');
SELECT * FROM request;
SELECT whaply.instance_state('loja') AS state, whaply.instance_qr('loja') AS qr;
-- With no request open a code is nobody's.
SELECT pg_temp.code('2@a');
SELECT count(*) FILTER (WHERE qr_code IS NOT NULL) AS codes FROM whaply.connect_requests;
-- After the request the line counts.
SELECT pg_temp.event('connection.update', '{"state": "close"}');
SELECT whaply.instance_state('loja') AS state;

-- Nobody scans, until Evolution makes no more codes.
SELECT whaply.connect_instance('loja', 'https://db.example.com/webhook') > 0 AS asked;
UPDATE whaply.connect_requests SET state = 'scan_qr' WHERE state = 'waiting';
SELECT pg_temp.code('2@a');
SELECT pg_temp.event('qrcode.updated', '{"message": "QR code limit reached, please login again", "statusCode": 500}');
SELECT pg_temp.event('connection.update', '{"state": "refused"}');
SELECT * FROM request WHERE request = 3;
SELECT whaply.instance_state('loja') AS state;
-- Unless the line has opened since.
SELECT pg_temp.event('connection.update', '{"state": "open"}');
SELECT whaply.instance_state('loja') AS state;

-- The drawing: half blocks, light on dark, two rows a line, and nothing for what no code can hold.
SELECT whaply.draw_qr('whaply');
SELECT whaply.draw_qr(NULL) IS NULL AS nothing, whaply.draw_qr(repeat('a', 4000)) IS NULL AS too_long;

-- Only who is granted it.
CREATE ROLE regress_whaply_nobody;
GRANT USAGE ON SCHEMA whaply TO regress_whaply_nobody;
SET LOCAL ROLE regress_whaply_nobody;
SELECT call, code, message
  FROM unnest(ARRAY[
       $$SELECT whaply.connect_instance('loja', 'https://db.example.com/webhook')$$,
       $$SELECT whaply.instance_qr('loja')$$,
       $$SELECT whaply.instance_state('loja')$$,
       $$SELECT whaply.draw_qr('a')$$,
       $$SELECT * FROM whaply.instance_requests$$]) AS call, story.error_of(call);
ROLLBACK;
