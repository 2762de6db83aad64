//! Transactions that meet at the same rows in an order that the test chooses: one is held open, one
//! is seen waiting for it, and the worker is stopped in the middle of a step. Nothing here waits for
//! a time.

use std::thread::{self, JoinHandle};

use postgres::Client;
use postgres::types::{FromSqlOwned, ToSql};
use serde_json::Value;

use crate::database::Database;
use crate::rows::PATIENCE;
use crate::wait::wait_until;

/// The advisory lock at which a step of the worker is stopped.
const STEP_LOCK: i64 = 4711;

/// A transaction that stays open until the test ends it. Dropped, it is rolled back.
pub struct OpenTransaction {
    client: Client,
}

impl OpenTransaction {
    #[track_caller]
    pub fn begin(db: &Database) -> Self {
        let mut client = db.connect();
        client.batch_execute("BEGIN").expect("a new session can begin");
        Self { client }
    }

    #[track_caller]
    pub fn ingest(&mut self, payload: &Value) -> Value {
        ingest(&mut self.client, payload)
    }

    /// The first column of the only row.
    #[track_caller]
    pub fn value<T: FromSqlOwned>(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T {
        let row = self.client.query_one(sql, parameters);
        row.unwrap_or_else(|error| panic!("{sql}\n{error:?}")).get(0)
    }

    #[track_caller]
    pub fn commit(mut self) {
        self.client.batch_execute("COMMIT").expect("nothing forbids the commit");
    }

    #[track_caller]
    pub fn rollback(mut self) {
        self.client.batch_execute("ROLLBACK").expect("a rollback always works");
    }
}

/// The answer of `whaply.ingest` in this session.
#[track_caller]
pub fn ingest(client: &mut Client, payload: &Value) -> Value {
    let row = client.query_one("SELECT whaply.ingest($1)", &[payload]);
    row.unwrap_or_else(|error| panic!("{payload}\n{error:?}")).get(0)
}

/// A call in a session of its own that waits for somebody else's lock.
pub struct WaitingCall<T> {
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> WaitingCall<T> {
    /// Begins the call, and returns once it waits.
    #[track_caller]
    pub fn begin(db: &Database, call: impl FnOnce(&mut Client) -> T + Send + 'static) -> Self {
        let mut client = db.connect();
        let row = client.query_one("SELECT pg_backend_pid()", &[]).expect("a session has a pid");
        let pid: i32 = row.get(0);
        let thread = thread::spawn(move || call(&mut client));
        wait_until("the call to wait for a lock", PATIENCE, || {
            assert!(!thread.is_finished(), "the call ended without waiting for anybody");
            is_blocked(db, pid)
        });
        Self { thread }
    }

    /// What it came to, now that nobody is in its way.
    #[track_caller]
    pub fn outcome(self) -> T {
        self.thread.join().expect("the call does not fail")
    }
}

/// A step of the worker that stops before it is committed, with all the locks it has by then.
pub struct HeldStep {
    /// Holds the lock, and looks at who waits for it.
    holder: Client,
}

impl HeldStep {
    /// Stops the worker where it next updates a row of this table of whaply's that fulfils the
    /// condition, e.g. `NEW.state = 'sending'`. One step at a time in one database.
    #[track_caller]
    pub fn at(db: &Database, table: &str, condition: &str) -> Self {
        let mut holder = db.connect();
        // The worker gives up other locks after a moment, but not this one.
        let arranged = holder.batch_execute(&format!(
            "SELECT pg_advisory_lock({STEP_LOCK});
             CREATE FUNCTION hold_step() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared({STEP_LOCK}); RETURN NEW; END $$;
             CREATE TRIGGER hold_step BEFORE UPDATE ON whaply.{table}
                 FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION hold_step()"
        ));
        arranged.unwrap_or_else(|error| panic!("{condition}: {error:?}"));
        Self { holder }
    }

    #[track_caller]
    pub fn wait_until_reached(&mut self) {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                   WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))";
        wait_until("the worker to reach the step", PATIENCE, || {
            let row = self.holder.query_one(sql, &[]).expect("the lock is held here");
            row.get::<_, bool>(0)
        });
    }

    /// Lets the step go on, and every later one.
    #[track_caller]
    pub fn release(mut self) {
        let sql = format!("SELECT pg_advisory_unlock({STEP_LOCK})");
        self.holder.batch_execute(&sql).expect("the lock is held here");
    }
}

fn is_blocked(db: &Database, pid: i32) -> bool {
    db.value("SELECT cardinality(pg_blocking_pids($1)) > 0", &[&pid])
}
