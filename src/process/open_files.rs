//! How many sockets a process can have open beside PostgreSQL's own files.

/// File descriptors left to PostgreSQL: it opens WAL where a failure would end the whole server.
const OF_POSTGRES: u64 = 256;

/// How many of the sockets that are wanted this process can have at the same time, one at least. A process
/// may raise its own soft limit up to the hard one, and this one does: PostgreSQL waits by epoll, and
/// nothing else here by `select`, which is what the low default protects.
pub fn most_sockets(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(OF_POSTGRES);
    // SAFETY: reads into, and sets from, a struct that lives on this stack.
    let open_files = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        if limit.rlim_cur < needed {
            let raised = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), ..limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
                limit = raised;
            }
        }
        limit.rlim_cur
    };
    let left = open_files.saturating_sub(OF_POSTGRES);
    usize::try_from(left).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}
