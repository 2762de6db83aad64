//! How other threads wake the main one, which sleeps on its latch and on an eventfd: a thread must not
//! set a latch.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use pgrx::pg_sys;

/// An eventfd: any thread rings it, the main thread waits on it.
#[derive(Debug)]
pub struct WakeUp(OwnedFd);

impl WakeUp {
    /// Errors: the system has no file descriptor left.
    pub fn new() -> std::io::Result<Self> {
        // SAFETY: a new descriptor, owned by nobody else.
        unsafe {
            match libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) {
                -1 => Err(std::io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes eight bytes of a local array to an open eventfd. A full counter is readable.
        unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Forgets what was rung. Before looking at what was rung for, never after.
    pub fn quiet(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads eight bytes into a local array; the descriptor does not block.
        unsafe { libc::read(self.fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

/// What the main thread sleeps on: its latch, a descriptor, and the postmaster, with which the process
/// ends. To make it takes longer than to wake up: it is made once.
pub struct Sleep(*mut pg_sys::WaitEventSet);

impl Sleep {
    /// On the main thread of a connected background process. `fd` stays open for as long as this lives.
    pub fn on(fd: RawFd) -> Self {
        const EVENTS: i32 = 3;
        // SAFETY: a set for so many events, owned by nobody but this; the latch is that of this process.
        unsafe {
            // The context in which it lives, or, of later versions, the owner that would free it.
            #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
            let set = pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, EVENTS);
            #[cfg(not(any(
                feature = "pg13",
                feature = "pg14",
                feature = "pg15",
                feature = "pg16"
            )))]
            let set = pg_sys::CreateWaitEventSet(std::ptr::null_mut(), EVENTS);
            let (no_fd, no_latch) = (pg_sys::PGINVALID_SOCKET, std::ptr::null_mut());
            for (event, fd, latch) in [
                (pg_sys::WL_LATCH_SET, no_fd, pg_sys::MyLatch),
                (pg_sys::WL_EXIT_ON_PM_DEATH, no_fd, no_latch),
                (pg_sys::WL_SOCKET_READABLE, fd, no_latch),
            ] {
                pg_sys::AddWaitEventToSet(set, event, fd, latch, std::ptr::null_mut());
            }
            Self(set)
        }
    }

    /// Until the latch is set, the descriptor is readable, or the time is over.
    pub fn until_event(&self, wait: Duration) {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        // SAFETY: room for the one event that is asked for, which has no destructor.
        unsafe {
            let mut event = std::mem::zeroed();
            pg_sys::WaitEventSetWait(self.0, wait, &raw mut event, 1, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // SAFETY: made by `on`, on this thread, and freed nowhere else.
        unsafe { pg_sys::FreeWaitEventSet(self.0) }
    }
}
