//! The one place where an [`Error`] becomes a PostgreSQL ERROR. Unlike pgrx's own report it can
//! carry any SQLSTATE, which PostgREST's `PT…` need.

use std::ffi::CString;

use pgrx::{PgLogLevel, pg_sys};

use crate::error::{Error, Result};

/// The value, or an ERROR that ends the statement and stores nothing.
pub fn or_raise<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => raise(&error),
    }
}

fn raise(error: &Error) -> ! {
    // SAFETY: the ErrorData and its texts are allocated in the current memory context and zeroed
    // before use; ThrowErrorData copies them. pgrx turns the longjmp into unwinding at this call.
    unsafe {
        let data = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
        (*data).elevel = PgLogLevel::ERROR as i32;
        (*data).sqlerrcode = encode(error.sqlstate());
        (*data).message = pstrdup(&error.to_string());
        if let Some(hint) = error.hint() {
            (*data).hint = pstrdup(&hint);
        }
        pg_sys::ThrowErrorData(data);
    }
    unreachable!("ThrowErrorData does not return for ERROR")
}

/// PostgreSQL packs the five characters of a SQLSTATE into six bits each (MAKE_SQLSTATE).
fn encode(sqlstate: &str) -> i32 {
    let bits = |(place, byte): (usize, u8)| (i32::from(byte.wrapping_sub(b'0')) & 0x3F) << (6 * place);
    sqlstate.bytes().enumerate().map(bits).sum()
}

/// # Safety
/// Runs on the main thread of a PostgreSQL process.
unsafe fn pstrdup(text: &str) -> *mut std::ffi::c_char {
    let text = CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default();
    // SAFETY: `text` is a NUL-terminated string; pstrdup copies it.
    unsafe { pg_sys::pstrdup(text.as_ptr()) }
}
