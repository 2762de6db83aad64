-- Guards that nothing another role plants runs with more than that role's own rights: an admin of all
-- tenants, who may also make objects in a schema of its own and put that first in its search_path.

BEGIN;
INSERT INTO whaply.tenants (instance_name, evo_server_url, mode) VALUES ('loja', 'http://127.0.0.1:1', 'off');
CREATE ROLE regress_whaply_planter;
SELECT whaply.grant_access('regress_whaply_planter', 'admin');
CREATE SCHEMA planted AUTHORIZATION regress_whaply_planter;
GRANT USAGE ON SCHEMA planted TO PUBLIC;

SET LOCAL ROLE regress_whaply_planter;
CREATE TABLE planted.ran_as (role name, what text);
GRANT INSERT ON planted.ran_as TO PUBLIC;
CREATE FUNCTION planted.note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO planted.ran_as VALUES (current_user, what);
    RETURN true;
END
$$;
-- In the place of what whaply's own statements use without a schema.
CREATE FUNCTION planted.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT planted.note('now'); SELECT pg_catalog.now()$$;
CREATE FUNCTION planted.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT planted.note('clock'); SELECT pg_catalog.now()$$;
CREATE FUNCTION planted.same(integer, integer) RETURNS boolean LANGUAGE sql AS $$SELECT planted.note('=')$$;
CREATE OPERATOR planted.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = planted.same);
CREATE FUNCTION planted.same(varchar, text) RETURNS boolean LANGUAGE sql AS $$SELECT planted.note('= of text')$$;
CREATE OPERATOR planted.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = planted.same);
CREATE FUNCTION planted.trigger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM planted.note('trigger'); RETURN NEW; END$$;
CREATE TABLE planted.tenants (id integer);
CREATE VIEW planted.view AS SELECT planted.note('view') FROM whaply.messages;

SELECT story.message('A') AS a, story.message('B') AS b \gset
SET LOCAL search_path = planted, pg_catalog;
SELECT call, code
  FROM unnest(ARRAY[
       'CREATE TRIGGER planted BEFORE INSERT ON whaply.messages FOR EACH ROW EXECUTE FUNCTION planted.trigger()',
       'CREATE CONSTRAINT TRIGGER planted AFTER INSERT ON whaply.messages DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION planted.trigger()',
       'CREATE RULE planted AS ON INSERT TO whaply.messages DO ALSO SELECT planted.note($$rule$$)',
       'CREATE POLICY planted ON whaply.messages USING (planted.note($$policy$$))',
       'CREATE INDEX planted ON whaply.messages (planted.note(text))',
       'CREATE FUNCTION whaply.planted() RETURNS int LANGUAGE sql AS $$SELECT 1$$',
       'CREATE OPERATOR whaply.=== (LEFTARG = integer, RIGHTARG = integer, FUNCTION = planted.same)',
       'CREATE OR REPLACE FUNCTION whaply.home_id() RETURNS text LANGUAGE sql AS $$SELECT $$',
       'ALTER TABLE whaply.messages ALTER text SET DEFAULT planted.note($$default$$)::text',
       'ALTER TABLE whaply.messages ADD CHECK (planted.note($$check$$))',
       'ALTER FUNCTION whaply.ingest(jsonb) SET search_path = planted',
       'CREATE TABLE planted.child () INHERITS (whaply.messages)',
       'CREATE TABLE planted.reference (id integer REFERENCES whaply.tenants)',
       'ALTER ROLE whaply_worker SET search_path = planted',
       'GRANT whaply_worker TO regress_whaply_planter'])
       WITH ORDINALITY AS calls (call, place), LATERAL story.error_of(call)
 ORDER BY place;

-- With its search_path in force, by the role and by a superuser who has it by mistake.
SELECT whaply.ingest(:'a') ->> 'action' AS action;
SELECT whaply.pause_session('loja', '5511999990001'), whaply.resume_session('loja', '5511999990001'),
       whaply.send_message('loja', '5511999990001', 'Oi') > 0, whaply.auto_resume() IS NOT NULL, whaply.instance_state('loja');
SELECT count(*) FROM whaply.health WHERE instance_name OPERATOR(pg_catalog.=) 'loja';
RESET ROLE;
SELECT whaply.ingest(:'b') ->> 'action' AS action;
SELECT whaply.webhook_settings('loja') IS NOT NULL AS settings, whaply.adopt_tenants() AS adopted, whaply.archive_messages(30) AS moved;
UPDATE whaply.tenants SET mode = 'draft' WHERE instance_name OPERATOR(pg_catalog.=) 'loja';
SELECT DISTINCT role, what FROM planted.ran_as ORDER BY 1, 2;
ROLLBACK;
