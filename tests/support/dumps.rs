//! pg_dump and pg_restore, plain and in the custom format, which pg_restore reads with several sessions at a
//! time. What is in a dump it does not know.

use std::io::Write;
use std::process::{Output, Stdio};
use std::thread;

use crate::cluster::Cluster;
use crate::database::Database;
use crate::server_user::successful;

/// Without it several sessions do not wait for each other's tables where an extension made these: foreign
/// keys are not checked.
const WITHOUT_FOREIGN_KEYS: &str = "-c session_replication_role=replica";

/// Where a dump is: in the cluster's own directory, and gone with it.
#[derive(Debug)]
pub struct DumpFile(String);

impl Cluster {
    /// What pg_dump writes about a database.
    pub fn dump(&self, database: &Database) -> String {
        self.printed("pg_dump", &["-d", database.name()])
    }

    /// The same with the database itself and the settings made for it.
    pub fn dump_with_database(&self, database: &Database) -> String {
        self.printed("pg_dump", &["--create", "-d", database.name()])
    }

    /// The roles of the server, but for the one that every cluster of tests has.
    pub fn dump_roles(&self) -> String {
        let roles = self.printed("pg_dumpall", &["--roles-only"]);
        roles
            .lines()
            .filter(|line| !line.contains(" postgres"))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Runs a dump in `database`, and stops at the first error.
    #[track_caller]
    pub fn restore(&self, database: &Database, dump: &str) {
        self.run_sql(database.name(), dump);
    }

    /// Runs a dump that makes the database `name`.
    #[track_caller]
    pub fn restore_with_database(&self, name: &str, dump: &str) -> Database {
        self.run_sql("postgres", dump);
        self.existing_database(name)
    }

    /// Runs a dump of no database in particular.
    #[track_caller]
    pub fn restore_roles(&self, dump: &str) {
        self.run_sql("postgres", dump);
    }

    #[track_caller]
    pub fn dump_to_file(&self, database: &Database) -> DumpFile {
        let file = format!("{}.dump", database.name());
        self.printed("pg_dump", &["-Fc", "-f", &file, "-d", database.name()]);
        DumpFile(self.directory().join(file).display().to_string())
    }

    /// Makes the database `name` of a dump, with one session. The first error ends it.
    #[track_caller]
    pub fn restore_file_with_database(&self, name: &str, DumpFile(file): &DumpFile) -> Database {
        self.printed("pg_restore", &["--create", "--exit-on-error", "-d", "postgres", file]);
        self.existing_database(name)
    }

    /// Restores it into an empty database with two sessions, which check no foreign keys. The first error
    /// ends it.
    #[track_caller]
    pub fn restore_in_parallel(&self, database: &Database, DumpFile(file): &DumpFile) {
        let mut pg_restore = self.program("pg_restore");
        pg_restore.env("PGOPTIONS", WITHOUT_FOREIGN_KEYS);
        let output = pg_restore.args(["-j2", "--exit-on-error", "-d", database.name(), file]);
        successful(output.output().expect("pg_restore can be run"), "pg_restore");
    }

    /// One section of it (`pre-data`, `data`, `post-data`) with two sessions and with all checks; how that
    /// ended.
    pub fn restore_section(
        &self,
        database: &Database,
        DumpFile(file): &DumpFile,
        section: &str,
    ) -> Output {
        let section = format!("--section={section}");
        let mut pg_restore = self.program("pg_restore");
        let output =
            pg_restore.args(["-j2", "--exit-on-error", &section, "-d", database.name(), file]);
        output.output().expect("pg_restore can be run")
    }

    fn printed(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.program(program).args(arguments).output();
        successful(output.expect("a program of PostgreSQL can be run"), program)
    }

    #[track_caller]
    fn run_sql(&self, database: &str, sql: &str) {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut psql = psql.spawn().expect("psql can be run");
        let mut input = psql.stdin.take().expect("its input is a pipe");
        let output = thread::scope(|scope| {
            // Beside the reading, since a full pipe on either side would stop both. psql may end
            // before it has read all; its exit status tells.
            scope.spawn(move || input.write_all(sql.as_bytes()));
            psql.wait_with_output().expect("psql ends")
        });
        successful(output, "psql");
    }
}
