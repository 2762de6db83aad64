//! For people and for tests: the reply worker of this database, started, stopped, watched, awaited.

use std::time::Duration;

use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::prelude::*;
use serde_json::json;

use super::or_raise;
use crate::error::{Error, Result};
use crate::front_door::Listening;
use crate::store::acting_role::as_worker;
use crate::store::extension;
use crate::worker::board::Board;
use crate::{version, worker};

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn start_worker() -> bool {
    or_raise(worker::start())
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn stop_worker() -> bool {
    or_raise(worker::stop())
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn worker_status() -> JsonB {
    let (status, pid) = or_raise(worker::status());
    JsonB(json!({ "status": status.as_str(), "pid": pid, "preloaded": worker::is_preloaded() }))
}

/// What `health` asks. No address and no name: settings of the listener are a superuser's to read.
#[pg_extern]
fn server_status() -> JsonB {
    let board = worker::board::board();
    let listening = worker::listening();
    let (reason, error) = match &listening {
        Listening::Down { reason, error } => (Some(*reason), error.as_deref()),
        Listening::Off | Listening::Starting | Listening::Open => (None, None),
    };
    JsonB(json!({
        "library": extension::LIBRARY_VERSION,
        "previous": version::PREVIOUS,
        "listener": { "state": listening.as_str(), "reason": reason, "error": error },
        "databases_without_process": board.map(Board::without_process).unwrap_or_default(),
        "databases_left_out": board.map_or(0, Board::left_out),
    }))
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn wait_until_idle(timeout: default!(Option<Interval>, "'30 s'")) -> bool {
    or_raise(wait(timeout))
}

fn wait(timeout: Option<Interval>) -> Result<bool> {
    // SAFETY: reads globals of this transaction.
    let (snapshot_is_fixed, has_written) = unsafe {
        (
            pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32,
            pg_sys::GetTopTransactionIdIfAny() != 0.into(),
        )
    };
    if snapshot_is_fixed || has_written {
        return Err(Error::NotPossible {
            message: "wait_until_idle cannot see the worker's commits from this transaction"
                .to_owned(),
            hint: "Call it in a statement of its own, READ COMMITTED, after the commit of what it waits for.",
        });
    }
    let micros = timeout.map_or(30_000_000, |timeout| timeout.as_micros());
    let limit = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    worker::wait_at_most(limit, &mut || as_worker(|_| extension::is_idle()))
}

// Called by the extension's script, so that CREATE EXTENSION needs no restart of the server.
#[pg_extern]
fn extension_created() {
    worker::extension_created();
}
