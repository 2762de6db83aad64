//! Settings that a background process never takes from the database or the role.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Rows are skipped where somebody holds them; what cannot be skipped (a message somebody edits
/// by hand) must not keep every other chat waiting.
const LOCK_TIMEOUT: &CStr = c"250ms";

/// For work that has met a lock already, and that others wait behind.
const SHORT_LOCK_TIMEOUT: &CStr = c"20ms";

const PINNED: &[(&CStr, &CStr)] = &[
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"statement_timeout", c"0"),
    (c"lock_timeout", LOCK_TIMEOUT),
    (c"idle_in_transaction_session_timeout", c"0"),
    // The policy of whaply_worker lets it see every row; off would be an error instead.
    (c"row_security", c"on"),
    // Compiling a statement takes longer than to run any of these, and 60 MB for its library.
    (c"jit", c"off"),
];

/// The transaction in which a process connects would end by it, and with it the process. Called before
/// that, as autovacuum does; what the database or the role says of it later counts for less.
pub fn pin_before_connecting() {
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    pin(c"transaction_timeout", c"0");
}

/// Settings of the database or the role reach a background process too; these would break it.
/// Called once, when it is connected.
pub fn pin_settings() {
    for (name, value) in PINNED.iter().copied() {
        pin(name, value);
    }
}

/// Runs `body`, outside any transaction, with a short patience for locks.
pub fn impatiently<T>(body: impl FnOnce() -> T) -> T {
    pin(c"lock_timeout", SHORT_LOCK_TIMEOUT);
    let value = body();
    pin(c"lock_timeout", LOCK_TIMEOUT);
    value
}

fn pin(name: &'static CStr, value: &'static CStr) {
    // SAFETY: NUL-terminated constants; a background process has its settings from its start on.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}
