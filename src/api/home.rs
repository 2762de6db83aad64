//! `home_id()` and `adopt_tenants()`: which database may speak for a tenant. A copy of the database
//! stores what comes, and stays silent until it is told that it is the one.

use pgrx::prelude::*;

use super::or_raise;
use crate::intake::adoption;
use crate::store::acting_role::as_worker;
use crate::{settings, worker};

#[pg_extern(stable, parallel_safe)]
fn home_id() -> String {
    // SAFETY: both read what this process knows since its start.
    let (system, database) = unsafe { (pg_sys::GetSystemIdentifier(), pg_sys::MyDatabaseId) };
    format!("{system}/{}", database.to_u32())
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn adopt_tenants() -> i64 {
    let expiry = settings::behaviour().reply_expiry;
    let limits = settings::worker_limits();
    let adopted = or_raise(as_worker(|_| {
        adoption::adopt_tenants(expiry, limits.call_time(), limits.settle_time)
    }));
    worker::wake_at_commit();
    i64::try_from(adopted).unwrap_or(i64::MAX)
}
