//! As which role statements run. Everything that whaply does, it does as `whaply_worker`, whose rights end
//! at the schema: what somebody plants (a trigger, an operator, a default) gets no more than that. Who
//! called is noted before, since it decides whose rows may be touched. No statement is run here.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::access::Caller;
use crate::error::{Error, Result};

const ROLE: &CStr = c"whaply_worker";

/// The table that came with the role: a database without it has an older version of the extension.
const TABLE_OF_THE_ROLE: &CStr = c"access";

/// `pg_read_all_settings`, which every server has and which can write nowhere: for looks at the catalogs
/// while there is no `whaply_worker`.
const HARMLESS_ROLE: u32 = 3374;

/// What a background process may act as in this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acting {
    Worker(pg_sys::Oid),
    /// The role is gone, or there is no extension: only the catalogs may be looked at.
    WithoutRole,
    /// The tables are older than the role, and know nothing of it.
    OlderTables,
}

/// Within a transaction of a process that is connected to a database.
pub fn acting() -> Acting {
    if !tables_know_the_role() {
        // SAFETY: a look into a catalog, in a transaction; NUL-terminated.
        let extension = unsafe { pg_sys::get_extension_oid(c"whaply".as_ptr(), true) };
        let has_extension = extension != pg_sys::InvalidOid;
        return if has_extension { Acting::OlderTables } else { Acting::WithoutRole };
    }
    worker_role().map_or(Acting::WithoutRole, Acting::Worker)
}

/// `whaply_worker`, if this server has it.
pub fn worker_role() -> Option<pg_sys::Oid> {
    // SAFETY: a look into the catalog cache, in a transaction; NUL-terminated.
    let role = unsafe { pg_sys::get_role_oid(ROLE.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// Refuses to begin where everything would be refused.
pub fn require_role() -> Result<()> {
    if acting() == Acting::WithoutRole { Err(Error::WithoutRole) } else { Ok(()) }
}

fn tables_know_the_role() -> bool {
    // SAFETY: looks into the catalog cache, in a transaction; NUL-terminated.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"whaply".as_ptr(), true);
        schema != pg_sys::InvalidOid
            && pg_sys::get_relname_relid(TABLE_OF_THE_ROLE.as_ptr(), schema) != pg_sys::InvalidOid
    }
}

/// Another user is in force while this lives; the former one comes back at its end, and if an ERROR
/// ends the (sub)transaction, PostgreSQL puts him back itself.
pub struct Switched {
    user: pg_sys::Oid,
    context: i32,
}

impl Switched {
    /// For a background process, in its transaction.
    pub fn for_a_transaction() -> Option<Self> {
        match acting() {
            Acting::Worker(role) => Some(Self::to(role)),
            Acting::WithoutRole => Some(Self::to(HARMLESS_ROLE.into())),
            Acting::OlderTables => None,
        }
    }

    fn to(role: pg_sys::Oid) -> Self {
        let mut former = Self { user: pg_sys::InvalidOid, context: 0 };
        let added = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        // SAFETY: in a transaction, on the main thread; both only move variables of this process.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&raw mut former.user, &raw mut former.context);
            pg_sys::SetUserIdAndSecContext(role, former.context | added.cast_signed());
        }
        former
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        // SAFETY: what GetUserIdAndSecContext has given.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}

/// [`as_worker`] for a look that a superuser must be able to take where the role is missing, to hear of it.
pub fn as_worker_to_look<T>(body: impl FnOnce(&Caller) -> Result<T>) -> Result<T> {
    // SAFETY: reads a variable of this process.
    let caller = Caller::new(unsafe { pg_sys::GetUserId() });
    if worker_role().is_none() && caller.is_free() {
        return body(&caller);
    }
    as_worker(body)
}

/// Runs `body` as `whaply_worker` for a session that called a function; `body` is told who called.
///
/// It is what SECURITY DEFINER does, but for one thing: there nobody can tell any more whether the role
/// before was the caller's own or that of a function around this one.
pub fn as_worker<T>(body: impl FnOnce(&Caller) -> Result<T>) -> Result<T> {
    // SAFETY: reads a variable of this process.
    let caller = Caller::new(unsafe { pg_sys::GetUserId() });
    if !tables_know_the_role() {
        return body(&caller);
    }
    let role = worker_role().ok_or(Error::WithoutRole)?;
    let _switched = Switched::to(role);
    body(&caller)
}
