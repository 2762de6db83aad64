//! What `pg_stat_activity` shows of a background process: its name, whether it is at work in the database,
//! and what it is about. What is told holds no chat, no text and no key.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// The process's `application_name`. Once, when it is connected.
pub fn call_process(name: &CStr) {
    // SAFETY: main thread of a connected background process; a NUL-terminated text, which is copied.
    unsafe { pg_sys::pgstat_report_appname(name.as_ptr()) }
}

/// A transaction begins. What the process is about stays as it was told last.
pub fn at_work() {
    // SAFETY: main thread of a connected background process; no text is given.
    unsafe {
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, std::ptr::null());
    }
}

/// No transaction is open.
pub fn at_rest() {
    // SAFETY: main thread of a connected background process; no text is given.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) }
}

/// No transaction is open, and this is what the process is about.
pub fn tell(what: &str) {
    let Ok(what) = CString::new(what) else { return };
    // SAFETY: main thread of a connected background process; a NUL-terminated text, which is copied.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, what.as_ptr()) }
}
