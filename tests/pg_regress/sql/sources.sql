-- Guards what a key or secret may name in place of itself: what begins like a source and names none is
-- refused when it is entered, and the error prints neither it nor the row.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ('fontes', 'http://127.0.0.1:1');
CREATE TEMP TABLE entered (place serial, value text);
INSERT INTO entered (value) VALUES
    ('env:LOJA_KEY'), ('file:/etc/whaply/secrets/loja'), ('file:/run/secrets/..data/key'), ('vault:key of the shop'),
    ('sk-ant-plain'), ('environment:X'), (NULL),
    ('env:'), ('env:sk-ant-1'), ('env:1A'), (' env:A'), ('file:key'), ('file:/etc/../root/key'), ('file:/etc/./key'),
    ('file:/etc/..'), ('file:/etc/'), (E'file:/etc/a\nb'), ('vault:'), ('vault: a'), ('vault:a ');

SELECT e.value, error.code, error.message
  FROM entered e, LATERAL story.error_of(format('UPDATE whaply.tenants SET llm_api_key = %L WHERE instance_name = ''fontes''', e.value)) AS error
 ORDER BY e.place;

-- Each of the columns, and new rows too.
SELECT columns.name, error.code, error.message
  FROM unnest('{evo_api_key,llm_api_key,webhook_secret,webhook_jwt_key}'::text[]) AS columns (name),
       LATERAL story.error_of(format('INSERT INTO whaply.tenants (instance_name, evo_server_url, %I) VALUES (%L, %L, %L)',
                                     columns.name, 'nova', 'http://127.0.0.1:1', 'env:sk-ant-2')) AS error
 ORDER BY columns.name;
\set SHOW_CONTEXT never
UPDATE whaply.tenants SET llm_api_key = 'file:sk-ant-3' WHERE instance_name = 'fontes';
ROLLBACK;
