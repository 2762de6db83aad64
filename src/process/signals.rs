//! Signals of a background process: PostgreSQL's own handlers on the main thread, none on another.

use pgrx::pg_sys;

// PostgreSQL's own handlers, as C functions: pgrx binds them for calling, not as pointers.
// SAFETY: both are exported by every server, with this signature (postgres.h's SIGNAL_ARGS).
unsafe extern "C-unwind" {
    fn die(signal: i32);
    #[allow(non_snake_case)]
    fn SignalHandlerForConfigReload(signal: i32);
}

/// A handler of a signal, as C has it.
pub type Handler = unsafe extern "C-unwind" fn(i32);

/// Signals act from here on: SIGTERM ends the process at its next safe point, SIGHUP reloads.
///
/// # Safety
/// Called once at the start of a background process, on its main thread.
pub unsafe fn install_signal_handlers() {
    // SAFETY: as the caller promised.
    unsafe { install_signal_handlers_with(die) }
}

/// The same, with a handler of SIGTERM of its own, which ends with [`end_at_next_safe_point`] when the
/// process is to go at once.
///
/// # Safety
/// As [`install_signal_handlers`]; the handler does nothing that a signal handler may not.
pub unsafe fn install_signal_handlers_with(terminate: Handler) {
    let handlers: [(u32, Handler); 2] =
        [(pg_sys::SIGTERM, terminate), (pg_sys::SIGHUP, SignalHandlerForConfigReload)];
    for (signal, handler) in handlers {
        // SAFETY: functions that were written as signal handlers.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            pg_sys::pqsignal(signal as i32, Some(handler));
            #[cfg(feature = "pg18")]
            pg_sys::pqsignal_be(signal as i32, Some(handler));
        }
    }
    // SAFETY: as the caller promised.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() }
}

/// What PostgreSQL does at SIGTERM: the process ends at its next safe point.
///
/// # Safety
/// Called by a handler of SIGTERM.
pub unsafe fn end_at_next_safe_point(signal: i32) {
    // SAFETY: as the caller promised.
    unsafe { die(signal) }
}

/// Signals are the main thread's: PostgreSQL's handlers must not run on another, and a thread that
/// took SIGURG would swallow the wake-ups of the latch. A thread inherits the mask of its maker.
pub fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: plain libc calls on sets that live on this stack.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let value = body();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        value
    }
}
