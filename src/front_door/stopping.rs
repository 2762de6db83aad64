//! SIGTERM at the listener: the first asks it to leave in its own time, the second ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use crate::process::end_at_next_safe_point;

static IS_STOPPING: AtomicBool = AtomicBool::new(false);

pub fn is_stopping() -> bool {
    IS_STOPPING.load(Ordering::Acquire)
}

/// The handler of SIGTERM.
///
/// # Safety
/// Called as one, on the main thread of the listener.
pub unsafe extern "C-unwind" fn terminate(signal: i32) {
    // SAFETY: errno is this thread's own.
    let errno = unsafe { *libc::__errno_location() };
    if IS_STOPPING.swap(true, Ordering::AcqRel) {
        // SAFETY: this is the handler.
        unsafe { end_at_next_safe_point(signal) }
    } else {
        // SAFETY: the main thread, which alone has this signal unblocked; SetLatch is made for handlers.
        unsafe { pg_sys::SetLatch(pg_sys::MyLatch) }
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno }
}

/// Whether this process ends at its next safe point: what its last commit waited for may not have come.
pub fn is_ending_at_once() -> bool {
    // SAFETY: a flag that signal handlers of this thread, the main one, set.
    unsafe { pg_sys::ProcDiePending != 0 }
}

/// For a thread that sees that the main one does not leave: something holds it, as a commit that waits
/// for a standby does.
pub fn insist() {
    // SAFETY: a signal to this process. Only its main thread takes it.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}
