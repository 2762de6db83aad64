//! The reply worker of a database, seen from outside: which process it is, what it costs, and when
//! it comes and goes. Nothing here starts or stops one.

use std::fs;

use crate::database::Database;
use crate::rows::PATIENCE;
use crate::wait::wait_until;

/// The process that is the worker now. The database must have the extension.
#[track_caller]
pub fn worker_pid(db: &Database) -> Option<i32> {
    db.value("SELECT (whaply.worker_status() ->> 'pid')::int", &[])
}

#[track_caller]
pub fn wait_for_worker(db: &Database) -> i32 {
    wait_until("a reply worker", PATIENCE, || worker_pid(db))
}

/// Waits for a worker that is another process than `former`.
#[track_caller]
pub fn wait_for_next_worker(db: &Database, former: i32) -> i32 {
    wait_until("another reply worker", PATIENCE, || worker_pid(db).filter(|pid| *pid != former))
}

/// Waits until no process of whaply is connected to the database, which may have lost the extension.
#[track_caller]
pub fn wait_until_without_worker(db: &Database) {
    let sql = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND backend_type LIKE 'whaply%'";
    wait_until("the reply worker to be gone", PATIENCE, || match db.value::<i64>(sql, &[]) {
        0 => Ok(()),
        left => Err(format!("{left} processes")),
    });
}

/// How often the process has gone to sleep of its own will since its start, its threads included.
#[track_caller]
pub fn sleeps_of(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let sleeps = tasks.map(|task| {
        let status = task.expect("a readable folder").path().join("status");
        number_in(&fs::read_to_string(status).unwrap_or_default(), "voluntary_ctxt_switches:")
    });
    sleeps.sum()
}

/// Resident memory in KiB: all of it, and what is the process's own (not shared, not of a file).
#[track_caller]
pub fn resident_kib(pid: i32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    (number_in(&status, "VmRSS:"), number_in(&status, "RssAnon:"))
}

/// The most resident memory that the process ever had, in KiB, all of it; or since it was forgotten.
#[track_caller]
pub fn most_resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    number_in(&status, "VmHWM:")
}

#[track_caller]
pub fn forget_most_resident(pid: i32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("its owner or root may");
}

fn number_in(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}
