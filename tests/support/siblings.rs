//! Servers that are made from another one: a standby that follows it, and the next major version by
//! pg_upgrade. What is in their databases it does not know.

use std::env;

use crate::cluster::{Cluster, ClusterOptions, programs, programs_of};
use crate::say::say_left_out;
use crate::server_user::successful;

/// Names the pg_config of a server of an earlier major version that has whaply too.
const OLD_PG_CONFIG: &str = "WHAPLY_OLD_PG_CONFIG";

/// There are builds (Debian's 15.20) that give every column an option `pg_attver`.
const MARKS_ITS_COLUMNS: &str =
    "SELECT EXISTS (SELECT FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver%')";

impl Cluster {
    /// A streaming standby of `primary`, which runs.
    pub fn standby_of(primary: &Self, options: &ClusterOptions) -> Self {
        Self::start_on(programs(), options, |standby| {
            let mut copy = primary.program("pg_basebackup");
            copy.current_dir(standby.directory());
            let output = copy.args(["-D", "data", "-R", "--checkpoint=fast", "--no-sync"]).output();
            successful(output.expect("pg_basebackup can be run"), "pg_basebackup");
        })
    }

    /// Another server on a copy of the files of `primary`, which runs. A shell prepares it in its data
    /// directory before it starts.
    pub fn physical_copy_of(primary: &Self, options: &ClusterOptions, prepare: &str) -> Self {
        Self::start_on(programs(), options, |copy| {
            let mut files = primary.program("pg_basebackup");
            files.current_dir(copy.directory());
            let output = files.args(["-D", "data", "--checkpoint=fast", "--no-sync"]).output();
            successful(output.expect("pg_basebackup can be run"), "pg_basebackup");
            let output = copy.shell(&format!("set -e; cd data\n{prepare}")).output();
            successful(output.expect("a shell can be run"), prepare);
        })
    }

    /// A server of an earlier version, of which pg_upgrade can make this one; None, and a word about it,
    /// where the environment names none.
    pub fn start_old(options: &ClusterOptions) -> Option<Self> {
        let pg_config = env::var(OLD_PG_CONFIG).unwrap_or_default();
        if pg_config.is_empty() {
            say_left_out(&format!(
                "an earlier PostgreSQL that has whaply: {OLD_PG_CONFIG} names its pg_config"
            ));
            return None;
        }
        let old = Self::start_on(programs_of(&pg_config), options, |old| old.initdb(&[]));
        let marks = old.connect("postgres").query_one(MARKS_ITS_COLUMNS, &[]);
        if marks.expect("an answer of the server").get(0) {
            say_left_out(&format!(
                "another PostgreSQL than that of {pg_config}, whose columns have an option that no other \
                 server knows: pg_upgrade fails with any table"
            ));
            return None;
        }
        Some(old)
    }

    /// What pg_upgrade makes of `old`, which is stopped.
    pub fn upgraded_from(old: &Self, options: &ClusterOptions) -> Self {
        Self::start_on(programs(), options, |new| {
            new.initdb(&new.options_like_those_of_old());
            let mut pg_upgrade = new.local_program("pg_upgrade");
            pg_upgrade
                .args(["-U", "postgres", "-D", "data", "-d"])
                .arg(old.directory().join("data"));
            pg_upgrade.arg("-b").arg(old.programs()).arg("-B").arg(new.programs());
            // Its own are two fixed ones; ours were free when the servers were made.
            let port = old.port().to_string();
            pg_upgrade.args(["-p", &port, "-P", &port]);
            // Its complaint is in files, which this keeps past its end and prints.
            let script = "\"$@\" && exit; find data/pg_upgrade_output.d -name '*.log' -exec tail -n 20 {} +; exit 1";
            let mut shell = new.shell(script);
            shell.arg(pg_upgrade.get_program()).args(pg_upgrade.get_args());
            successful(shell.output().expect("a shell can be run"), "pg_upgrade");
        })
    }

    /// Data directories before PostgreSQL 18 had no checksums unless asked for.
    fn options_like_those_of_old(&self) -> Vec<&'static str> {
        const WITHOUT: &str = "--no-data-checksums";
        let help = self.local_program("initdb").arg("--help").output();
        let help = successful(help.expect("initdb can be run"), "initdb");
        if help.contains(WITHOUT) { vec![WITHOUT] } else { Vec::new() }
    }
}
