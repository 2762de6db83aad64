//! Dumps in pg_dump's custom format, which pg_restore reads with several sessions at a time. What is in
//! them it does not know.

use crate::cluster::Cluster;
use crate::database::Database;
use crate::server_user::successful;

/// Where a dump is: in the cluster's own directory, and gone with it.
#[derive(Debug)]
pub struct DumpFile(String);

impl Cluster {
    #[track_caller]
    pub fn dump_to_file(&self, database: &Database) -> DumpFile {
        let file = format!("{}.dump", database.name());
        let mut pg_dump = self.program("pg_dump");
        let output = pg_dump.args(["-Fc", "-f", &file, "-d", database.name()]).output();
        successful(output.expect("pg_dump can be run"), "pg_dump");
        DumpFile(file)
    }

    /// Restores it into an empty database with two sessions. The first error ends it. Two sessions do not
    /// wait for each other's tables where an extension made these, so that foreign keys are not checked.
    #[track_caller]
    pub fn restore_in_parallel(&self, database: &Database, DumpFile(file): &DumpFile) {
        let mut pg_restore = self.program("pg_restore");
        pg_restore.env("PGOPTIONS", "-c session_replication_role=replica");
        let output = pg_restore.args(["-j2", "--exit-on-error", "-d", database.name(), file]);
        successful(output.output().expect("pg_restore can be run"), "pg_restore");
    }
}
