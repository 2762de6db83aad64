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

/// Sleeps until the latch of this process is set, the descriptor is readable, or the time is over;
/// ends the process with the postmaster.
pub fn wait_for_event(fd: RawFd, wait: Duration) {
    let events = pg_sys::WL_LATCH_SET
        | pg_sys::WL_TIMEOUT
        | pg_sys::WL_EXIT_ON_PM_DEATH
        | pg_sys::WL_SOCKET_READABLE;
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: the latch of this process, and a descriptor that the caller keeps open.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as i32,
            fd,
            wait,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}
