//! As which roles the tables of a database are written: what a superuser's own trigger on each of them
//! notes. It changes nothing.

use crate::database::Database;

const WATCH: &str = "
    CREATE TABLE public.writers (application text, role name, relation name);
    GRANT INSERT ON public.writers TO PUBLIC;
    CREATE FUNCTION public.note_writer() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.writers VALUES (current_setting('application_name'), current_user, TG_TABLE_NAME);
        RETURN NULL;
    END $$;
    DO $$
    DECLARE
        watched regclass;
    BEGIN
        FOR watched IN SELECT oid FROM pg_class WHERE relnamespace = 'whaply'::regnamespace AND relkind = 'r' LOOP
            EXECUTE format('CREATE TRIGGER note_writer AFTER INSERT OR UPDATE OR DELETE ON %s
                            FOR EACH STATEMENT EXECUTE FUNCTION public.note_writer()', watched);
        END LOOP;
    END $$";

/// Begins to note who writes.
#[track_caller]
pub fn watch(db: &Database) {
    db.execute(WATCH);
}

/// The roles as which the worker and the listener have written.
#[track_caller]
pub fn roles_of_processes(db: &Database) -> Vec<String> {
    let sql = "SELECT DISTINCT role::text FROM public.writers WHERE application <> 'whaply-tests'";
    db.column(sql, &[])
}

/// The roles as which anybody has written to a table, a session of a test that called a function too.
#[track_caller]
pub fn roles_in(db: &Database, table: &str) -> Vec<String> {
    let sql = "SELECT DISTINCT role::text FROM public.writers WHERE relation = $1::text";
    db.column(sql, &[&table])
}
