//! One database of a test cluster, and short ways to ask it. It never outlives its cluster.

use std::sync::mpsc;
use std::time::Duration;

use postgres::types::{FromSqlOwned, ToSql};
use postgres::{Client, NoTls, Row};
use tokio_postgres::Config;

/// A server that is starting answers within moments; one that does not is broken.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the drop of a database may take before it is left to the end of the cluster.
const DROP_LIMIT: &str = "5s";

/// Dropping it drops the database, as far as that is possible.
#[derive(Debug)]
pub struct Database {
    port: u16,
    name: String,
}

impl Database {
    pub(crate) fn new(port: u16, name: String) -> Self {
        Self { port, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn config(&self) -> Config {
        config(self.port, &self.name)
    }

    /// A session of its own, as the superuser.
    #[track_caller]
    pub fn connect(&self) -> Client {
        connect(self.port, &self.name)
    }

    /// A session as another role (the cluster trusts everyone).
    #[track_caller]
    pub fn connect_as(&self, role: &str) -> Client {
        let mut config = self.config();
        config.user(role);
        let client = postgres::Config::from(config).connect(NoTls);
        client.unwrap_or_else(|error| panic!("cannot connect as {role}: {error:?}"))
    }

    /// Runs any number of statements.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        let done = self.connect().batch_execute(sql);
        done.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
    }

    /// What PostgreSQL says while it runs these statements: warnings and notices.
    #[track_caller]
    pub fn notices(&self, sql: &str) -> Vec<String> {
        let (said, heard) = mpsc::channel();
        let mut config = postgres::Config::from(self.config());
        config.notice_callback(move |notice| {
            // Whoever listens lives longer than the session.
            let _ = said.send(format!("{}: {}", notice.severity(), notice.message()));
        });
        let mut client = config.connect(NoTls).unwrap_or_else(|error| panic!("{error:?}"));
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
        heard.try_iter().collect()
    }

    #[track_caller]
    pub fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let rows = self.connect().query(sql, parameters);
        rows.unwrap_or_else(|error| panic!("{sql}\n{error:?}"))
    }

    /// The first column of every row.
    #[track_caller]
    pub fn column<T: FromSqlOwned>(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<T> {
        self.rows(sql, parameters).into_iter().map(|row| row.get(0)).collect()
    }

    /// The first column of the only row.
    #[track_caller]
    pub fn value<T: FromSqlOwned>(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
        let mut values = self.column(sql, parameters);
        assert_eq!(values.len(), 1, "{sql} returned {} rows instead of one", values.len());
        values.remove(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Failures do not matter: the server may be down, and it is thrown away with all it holds.
        let Ok(mut client) = try_connect(self.port, "postgres") else { return };
        let _ = client.batch_execute(&format!("SET statement_timeout = '{DROP_LIMIT}'"));
        let _ = client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

pub(crate) fn config(port: u16, database: &str) -> Config {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .dbname(database)
        .application_name("whaply-tests")
        .connect_timeout(CONNECT_TIMEOUT);
    config
}

pub(crate) fn try_connect(port: u16, database: &str) -> Result<Client, postgres::Error> {
    postgres::Config::from(config(port, database)).connect(NoTls)
}

#[track_caller]
pub(crate) fn connect(port: u16, database: &str) -> Client {
    let client = try_connect(port, database);
    client.unwrap_or_else(|error| panic!("cannot connect to {database}: {error:?}"))
}
