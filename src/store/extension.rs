//! The extension itself in this database: whether it is there and of which version, who its only reply
//! worker is, and whether that has anything to do.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use super::acting_role::{self, Acting};
use super::sql;
use crate::error::{Error, Result};
use crate::version;

/// How many tables [`presence`] looks for.
const TABLES: usize = 8;

/// "whaply" in ASCII: the advisory lock of the reply worker.
const WORKER_LOCK: (u32, u32) = (0x7768, 0x6170_6c79);

/// SQL's own advisory locks are of kind 1 and 2: no session can take this one and keep the worker away.
const OUT_OF_REACH_OF_SQL: i16 = 3;

/// The version of the tables and functions that this library was made for.
pub const LIBRARY_VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    Ready,
    /// Somebody drops or alters one of the tables at this moment.
    Locked,
    /// Of a version that this library does not serve: it must not touch its tables.
    OtherVersion,
    /// The role that all SQL runs as is not on this server.
    WithoutRole,
    /// Dropped and created again since: the ids that are remembered name other rows now.
    Replaced,
    #[default]
    Gone,
}

/// Whether this database has the extension with all its tables, and takes their weakest lock
/// without ever waiting: a worker that waited for DROP EXTENSION could deadlock with it.
///
/// `known`: the extension's [`id`] as it was before, if it is to be the same.
pub fn presence(known: Option<pg_sys::Oid>) -> Result<Presence> {
    let tables = sql::query(
        "SELECT c.oid, x.oid, x.extversion IN ($1, $2) FROM pg_catalog.pg_extension x \
           JOIN pg_catalog.pg_namespace n ON n.nspname = 'whaply' \
           JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r' \
          WHERE x.extname = 'whaply' \
            AND c.relname IN ('tenants', 'chat_aliases', 'sessions', 'messages', 'processed_events', 'replies', \
                              'deliveries', 'connect_requests') \
          ORDER BY c.oid",
        &[LIBRARY_VERSION.into(), version::PREVIOUS.into()],
        |row| Ok((row.get::<pg_sys::Oid>(1)?, row.get::<pg_sys::Oid>(2)?, row.get::<bool>(3)?)),
    )?;
    if tables.iter().any(|(_, _, is_served)| !is_served) {
        return Ok(Presence::OtherVersion);
    }
    if tables.len() < TABLES {
        return Ok(Presence::Gone);
    }
    if acting_role::acting() == Acting::WithoutRole {
        return Ok(Presence::WithoutRole);
    }
    for (table, extension, _) in tables {
        if known.is_some_and(|known| known != extension) {
            return Ok(Presence::Replaced);
        }
        // SAFETY: in a transaction on the main thread; the lock ends with it.
        let locked = unsafe {
            pg_sys::ConditionalLockRelationOid(table, pg_sys::AccessShareLock as pg_sys::LOCKMODE)
        };
        if !locked {
            return Ok(Presence::Locked);
        }
    }
    Ok(Presence::Ready)
}

/// Which version of the extension this database has.
pub fn version() -> Result<Option<String>> {
    let version = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'whaply'";
    sql::query_one(version, &[], |row| row.get(1))
}

/// What tells this installation of the extension from one before or after it.
pub fn id() -> Result<Option<pg_sys::Oid>> {
    let id = "SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'whaply'";
    sql::query_one(id, &[], |row| row.get(1))
}

/// Refuses to work on tables that are older than the release before. Looked at once in a session: versions
/// only grow.
pub fn require_served() -> Result<()> {
    static IS_SERVED: AtomicBool = AtomicBool::new(false);
    if IS_SERVED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let is_too_old = |tables: &String| {
        version::is_newer(LIBRARY_VERSION, tables) && !version::is_served(tables, LIBRARY_VERSION)
    };
    if let Some(tables) = version()?.filter(is_too_old) {
        return Err(Error::Outdated { tables, library: LIBRARY_VERSION });
    }
    IS_SERVED.store(true, Ordering::Relaxed);
    Ok(())
}

/// What to say of it where the extension is of another version than this library, and served all the same.
pub fn version_to_tell() -> Result<Option<String>> {
    let told = version()?
        .filter(|tables| tables != LIBRARY_VERSION && version::is_served(tables, LIBRARY_VERSION));
    Ok(told.map(|tables| version::mismatch(&tables, LIBRARY_VERSION)))
}

pub fn database_name() -> Result<String> {
    let name = "SELECT pg_catalog.current_database()::text";
    let name = sql::query_one(name, &[], |row| row.get(1))?;
    name.ok_or_else(|| Error::Internal("this database has no name".to_owned()))
}

/// Makes this process the reply worker of the database, until it ends; false if another one is.
pub fn become_the_worker() -> bool {
    let tag = pg_sys::LOCKTAG {
        // SAFETY: reads a global that does not change after the start of the process.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: WORKER_LOCK.0,
        locktag_field3: WORKER_LOCK.1,
        locktag_field4: OUT_OF_REACH_OF_SQL.cast_unsigned(),
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    };
    // SAFETY: on the main thread, in a transaction, which the lock outlives; it waits for nobody.
    let locked =
        unsafe { pg_sys::LockAcquire(&raw const tag, pg_sys::ExclusiveLock as i32, true, true) };
    locked != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// The process that is the reply worker of this database, if one is.
pub fn worker_pid() -> Result<Option<i32>> {
    // SAFETY: reads a global that does not change after the start of the process.
    worker_pid_of(unsafe { pg_sys::MyDatabaseId }.to_u32())
}

/// The same of any database of this server.
pub fn worker_pid_of(database: u32) -> Result<Option<i32>> {
    sql::query_one(
        "SELECT l.pid FROM pg_catalog.pg_locks l \
          WHERE l.locktype = 'advisory' AND l.granted AND l.database = $1 \
            AND l.classid = $2 AND l.objid = $3 AND l.objsubid = $4",
        &[
            pg_sys::Oid::from(database).into(),
            pg_sys::Oid::from(WORKER_LOCK.0).into(),
            pg_sys::Oid::from(WORKER_LOCK.1).into(),
            OUT_OF_REACH_OF_SQL.into(),
        ],
        |row| row.get(1),
    )
}

/// Ends a process as `pg_terminate_backend` does.
pub fn terminate(pid: i32) -> Result<bool> {
    let ended = sql::query_one("SELECT pg_terminate_backend($1)", &[pid.into()], |row| row.get(1))?;
    Ok(ended.unwrap_or(false))
}

/// Whether the reply worker of this database has nothing to do: nothing open that it may work on. What
/// waits for a line that is closed does not count.
pub fn is_idle() -> Result<bool> {
    let idle = sql::query_one(
        "SELECT NOT EXISTS ( \
             SELECT FROM whaply.replies r JOIN whaply.tenants t ON t.id = r.tenant_id \
              WHERE r.state IN ('waiting', 'generating', 'sending') AND t.home = whaply.home_id() \
                AND coalesce(t.connection_state, 'open') = 'open') \
            AND NOT EXISTS ( \
             SELECT FROM whaply.deliveries d JOIN whaply.tenants t ON t.id = d.tenant_id \
              WHERE d.state IN ('pending', 'sending', 'uncertain') AND t.home = whaply.home_id() \
                AND (d.state = 'sending' OR coalesce(t.connection_state, 'open') = 'open')) \
            AND NOT EXISTS ( \
             SELECT FROM whaply.processed_events e JOIN whaply.tenants t ON t.id = e.tenant_id \
              WHERE e.action_taken = 'pending_echo' AND t.home = whaply.home_id())",
        &[],
        |row| row.get(1),
    )?;
    Ok(idle.unwrap_or(true))
}
