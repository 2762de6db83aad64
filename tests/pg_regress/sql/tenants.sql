-- Guards what a tenant can be set to: each refusal names the column and what is allowed, and none
-- prints the row, in which keys and the webhook's secret are.

BEGIN;
-- Whether the error of a statement prints a secret. (Its context repeats the statement, which is EXECUTE's doing.)
CREATE FUNCTION story.tells_a_secret(statement text) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    EXECUTE statement;
    RAISE 'no error: %', statement;
EXCEPTION WHEN integrity_constraint_violation OR not_null_violation OR check_violation OR unique_violation THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', message, detail, hint) ~ 's3cret|Failing row';
END
$$;

INSERT INTO whaply.tenants (instance_name, evo_server_url, evo_api_key, llm_api_key, webhook_secret)
VALUES ('loja', 'http://127.0.0.1:1', 's3cret-1', 's3cret-2', 's3cret-3');

-- Each setting, out of its bounds on both sides.
CREATE TEMP VIEW refused AS
SELECT place, assignment, format('UPDATE whaply.tenants SET %s', assignment) AS statement
  FROM unnest(ARRAY[
       'instance_name = NULL', 'evo_server_url = NULL', 'mode = NULL', 'id = NULL', 'created_at = NULL', 'updated_at = NULL',
       $$evo_server_url = 'ftp://root:s3cret@evolution'$$, $$evo_server_url = 'https://'$$, $$evo_server_url = ''$$,
       $$llm_base_url = 'root:s3cret@llm:8080/v1'$$,
       $$llm_provider = 'ollama'$$, $$llm_provider = ''$$,
       $$mode = 'silent'$$, $$mode = 'ON'$$,
       $$on_failure = 'retry'$$, $$on_other_sender = 'off'$$, $$on_uncertain = 'ask'$$, $$connection_state = 'closed'$$,
       'max_tokens = 0', 'max_tokens = 1000001',
       'history_limit = 0', 'history_limit = 1001',
       'max_in_flight = 0', 'max_in_flight = 10001',
       $$debounce = '-1 second'$$, $$debounce = '25 hours'$$,
       $$debounce_max = '-1 second'$$, $$debounce_max = '25 hours'$$,
       'answers_per_chat = -1', 'answers_per_chat = 1000001', 'answers_per_tenant = -1', 'answers_per_tenant = 1000001',
       $$answer_window = '0'$$, $$answer_window = '366 days'$$,
       $$resume_word = repeat('#', 101)$$, $$hold_word = repeat('#', 101)$$, $$resume_word = '#x', hold_word = ' #X '$$,
       $$on_unverified = 'ask'$$,
       $$auto_resume_after = '0'$$, $$auto_resume_after = '9999 years'$$,
       $$age_limit = '0'$$, $$age_limit = '366 days'$$,
       $$reply_expiry = '-1 hour'$$, $$reply_expiry = '13 months'$$,
       $$timezone = 'America/São Paulo'$$, $$timezone = ''$$]) WITH ORDINALITY AS assignments (assignment, place);
SELECT assignment, error.* FROM refused, LATERAL story.error_of(statement) AS error ORDER BY place;
SELECT count(*) AS refusals, count(*) FILTER (WHERE story.tells_a_secret(statement)) AS with_a_secret FROM refused;

-- A new tenant is checked as a changed one is, and a name that is taken tells only the name.
CREATE TEMP VIEW not_inserted AS
SELECT place, format('INSERT INTO whaply.tenants (instance_name, evo_server_url, evo_api_key, mode, timezone) VALUES (%s)', row) AS statement
  FROM unnest(ARRAY[
       $$NULL, 'http://a', 's3cret', 'on', NULL$$,
       $$'nova', NULL, 's3cret', 'on', NULL$$,
       $$'nova', 'evolution:8080', 's3cret', 'on', NULL$$,
       $$'nova', 'http://a', 's3cret', 'loud', NULL$$,
       $$'nova', 'http://a', 's3cret', 'on', 'Brasil'$$,
       $$'loja', 'http://a', 's3cret', 'on', NULL$$]) WITH ORDINALITY AS rows (row, place);
SELECT error.* FROM not_inserted, LATERAL story.error_of(statement) AS error ORDER BY place;
SELECT count(*) AS refusals, count(*) FILTER (WHERE story.tells_a_secret(statement)) AS with_a_secret FROM not_inserted;

-- The bounds themselves are allowed, and NULL wherever a setting has a GUC.
SELECT assignment, error.message
  FROM unnest(ARRAY[
       $$evo_server_url = 'HTTPS://evolution', llm_base_url = 'Http://llm/v1', llm_provider = 'OpenAI'$$,
       $$max_tokens = 1, history_limit = 1, max_in_flight = 1, debounce = '0', debounce_max = '0'$$,
       $$max_tokens = 1000000, history_limit = 1000, max_in_flight = 10000, debounce = '1 day', debounce_max = '24 hours'$$,
       $$auto_resume_after = '1 microsecond', age_limit = '365 days', reply_expiry = '1 year'$$,
       $$timezone = 'America/Sao_Paulo'$$,
       $$answers_per_chat = 0, answers_per_tenant = 0, answer_window = '1 microsecond'$$,
       $$answers_per_chat = 1000000, answers_per_tenant = 1000000, answer_window = '365 days'$$,
       $$resume_word = '', hold_word = ' '$$,
       $$resume_word = '#volta', hold_word = 'deixa comigo', answer_after_pause = true, on_unverified = 'hold'$$,
       $$resume_word = NULL, hold_word = '#bot'$$,
       $$answers_per_chat = NULL, answers_per_tenant = NULL, answer_window = NULL, resume_word = NULL, hold_word = NULL,
         answer_after_pause = NULL, on_unverified = NULL$$,
       $$llm_base_url = NULL, llm_provider = NULL, max_tokens = NULL, history_limit = NULL, max_in_flight = NULL,
         debounce = NULL, debounce_max = NULL, auto_resume_after = NULL, age_limit = NULL, reply_expiry = NULL,
         on_failure = NULL, on_other_sender = NULL, on_uncertain = NULL, connection_state = NULL, timezone = NULL$$])
       WITH ORDINALITY AS assignments (assignment, place),
       LATERAL story.error_of('UPDATE whaply.tenants SET ' || assignment) AS error
 ORDER BY place;

-- A row of another database may name a timezone that this server does not know: a restore takes it,
-- and it does not stand in the way of other changes.
INSERT INTO whaply.tenants (instance_name, evo_server_url, timezone, home)
VALUES ('restored', 'http://127.0.0.1:1', 'Atlantis/Capital', 'elsewhere');
UPDATE whaply.tenants SET connection_state = 'close', home = whaply.home_id() WHERE instance_name = 'restored';
SELECT timezone, connection_state FROM whaply.tenants WHERE instance_name = 'restored';

-- The search for secrets can fail: without the trigger PostgreSQL's own error prints the row.
ALTER TABLE whaply.tenants DISABLE TRIGGER check_tenant;
SELECT story.tells_a_secret('UPDATE whaply.tenants SET evo_server_url = NULL');

ROLLBACK;
