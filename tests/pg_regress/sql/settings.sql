-- Guards the settings: each begins with whaply., says what it is for, has the documented default,
-- and can be changed by whom it should.

CREATE TEMP TABLE documented (name text, "default" text, unit text, context text);
INSERT INTO documented VALUES
    ('whaply.debounce', '5000', 'ms', 'superuser'),
    ('whaply.debounce_max', '30000', 'ms', 'superuser'),
    ('whaply.auto_resume_after', '7200', 's', 'superuser'),
    ('whaply.age_limit', '3600', 's', 'superuser'),
    ('whaply.reply_expiry', '1800', 's', 'superuser'),
    ('whaply.history_limit', '30', NULL, 'superuser'),
    ('whaply.max_tokens', '4096', NULL, 'superuser'),
    ('whaply.max_in_flight', '32', NULL, 'superuser'),
    ('whaply.on_failure', 'hand_over', NULL, 'superuser'),
    ('whaply.on_other_sender', 'pause', NULL, 'superuser'),
    ('whaply.on_uncertain', 'send', NULL, 'superuser'),
    ('whaply.on_unverified', 'hold', NULL, 'superuser'),
    ('whaply.answers_per_chat', '30', NULL, 'superuser'),
    ('whaply.answers_per_tenant', '600', NULL, 'superuser'),
    ('whaply.answer_window', '600', 's', 'superuser'),
    ('whaply.answer_after_pause', 'off', NULL, 'superuser'),
    ('whaply.resume_word', '#bot', NULL, 'superuser'),
    ('whaply.hold_word', '#eu', NULL, 'superuser'),
    ('whaply.timezone', 'America/Sao_Paulo', NULL, 'superuser'),
    ('whaply.groups', 'off', NULL, 'superuser'),
    ('whaply.require_secret', 'on', NULL, 'superuser'),
    ('whaply.keep_processed_events', '7', NULL, 'superuser'),
    ('whaply.keep_messages', '0', NULL, 'superuser'),
    ('whaply.keep_raw', '0', NULL, 'superuser'),
    ('whaply.secret_sources', 'env:ANTHROPIC_API_KEY, env:OPENAI_API_KEY, env:EVOLUTION_API_KEY', NULL, 'sighup'),
    ('whaply.anthropic_api_key', 'env:ANTHROPIC_API_KEY', NULL, 'sighup'),
    ('whaply.anthropic_base_url', NULL, NULL, 'sighup'),
    ('whaply.anthropic_model', NULL, NULL, 'sighup'),
    ('whaply.openai_api_key', 'env:OPENAI_API_KEY', NULL, 'sighup'),
    ('whaply.openai_base_url', NULL, NULL, 'sighup'),
    ('whaply.openai_model', NULL, NULL, 'sighup'),
    ('whaply.evolution_api_key', 'env:EVOLUTION_API_KEY', NULL, 'sighup'),
    ('whaply.listen', NULL, NULL, 'sighup'),
    ('whaply.database', NULL, NULL, 'sighup'),
    ('whaply.metrics_token', NULL, NULL, 'sighup'),
    ('whaply.trusted_proxies', NULL, NULL, 'sighup'),
    ('whaply.max_body', '16384', 'kB', 'sighup'),
    ('whaply.max_clients', '1000', NULL, 'sighup'),
    ('whaply.header_timeout', '10000', 'ms', 'sighup'),
    ('whaply.body_timeout', '30000', 'ms', 'sighup'),
    ('whaply.webhook_rate', '0', NULL, 'sighup'),
    ('whaply.refused_per_minute', '60', NULL, 'sighup'),
    ('whaply.allow_private_addresses', 'off', NULL, 'sighup'),
    ('whaply.http_proxy', NULL, NULL, 'sighup'),
    ('whaply.ca_file', NULL, NULL, 'sighup'),
    ('whaply.worker', 'on', NULL, 'sighup'),
    ('whaply.worker_threads', '2000', NULL, 'sighup'),
    ('whaply.poll_interval', '5000', 'ms', 'sighup'),
    ('whaply.maintenance_interval', '60', 's', 'sighup'),
    ('whaply.llm_timeout', '90000', 'ms', 'sighup'),
    ('whaply.send_timeout', '60000', 'ms', 'sighup'),
    ('whaply.retry_delay', '2000', 'ms', 'sighup'),
    ('whaply.settle_time', '10000', 'ms', 'sighup'),
    ('whaply.line_check_interval', '30000', 'ms', 'sighup');

CREATE TEMP VIEW present AS
SELECT name, nullif(boot_val, '') AS "default", unit, context FROM pg_settings WHERE name LIKE 'whaply.%';

SELECT 'missing' AS difference, * FROM (TABLE documented EXCEPT TABLE present) AS missing ORDER BY name;
SELECT 'not documented' AS difference, * FROM (TABLE present EXCEPT TABLE documented) AS extra ORDER BY name;
SELECT count(*) AS settings FROM present;

-- Only ours and PL/pgSQL's are in this server.
SELECT name AS without_prefix FROM pg_settings
 WHERE category = 'Customized Options' AND name !~ '^(whaply|plpgsql)\.' ORDER BY name;
SELECT name AS without_description FROM pg_settings
 WHERE name LIKE 'whaply.%' AND coalesce(short_desc, '') !~ '^[A-Z].*\.$' ORDER BY name;

-- A setting that a tenant can override has the name of its column.
SELECT replace(name, 'whaply.', '') AS overridden_by_column
  FROM present JOIN pg_attribute a ON a.attrelid = 'whaply.tenants'::regclass AND 'whaply.' || a.attname = name
 ORDER BY name;

-- Values with units; words and names that are none; what only the server's files may set.
BEGIN;
SET LOCAL whaply.debounce = '1min';
SHOW whaply.debounce;
-- (PostgreSQL 17 and later name the unit of a range.)
SELECT statement, error.code, regexp_replace(error.message, '\((\d+) ms \.\. (\d+) ms\)', '(\1 .. \2)') AS message
  FROM unnest(ARRAY[
       $$SET whaply.debounce = '-1'$$,
       $$SET whaply.on_failure = 'give_up'$$,
       $$SET whaply.history_limit = 0$$,
       $$SET whaply.openai_base_url = 'http://127.0.0.1'$$,
       $$SET whaply.debonce = '1s'$$]) WITH ORDINALITY AS statements (statement, place),
       LATERAL story.error_of(statement) AS error
 ORDER BY place;
-- The source of a key, though no key, is the operator's.
CREATE ROLE regress_whaply_reader;
SET LOCAL ROLE regress_whaply_reader;
SELECT name AS visible_to_everybody FROM pg_settings WHERE name ~ '^whaply\.(anthropic|openai)_' ORDER BY name;
SELECT code FROM story.error_of('SHOW whaply.openai_api_key');
SELECT code, message FROM story.error_of($$SET whaply.debounce = '1s'$$);
ROLLBACK;
