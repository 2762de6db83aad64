//! What a background process asks of the system's allocator, which by itself keeps what large pieces of
//! memory were once needed, for each thread anew. It allocates nothing.

/// Pieces beyond this go back to the system at once. Smaller ones are what everyday work is made of.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1_024 * 1_024;

/// Large pieces go back to the system when they are freed. Called once, at the start of the process.
///
/// Without it the GNU allocator learns from the first of them to keep all that follow.
#[cfg(target_env = "gnu")]
pub fn keep_no_large_pieces() {
    // SAFETY: no other thread is there yet; a wrong value would only be refused.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// What was freed in small pieces goes back as well. It takes a moment: for after unusual work.
#[cfg(target_env = "gnu")]
pub fn give_back_what_is_free() {
    // SAFETY: any thread may ask for it at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators see to it themselves.
#[cfg(not(target_env = "gnu"))]
pub fn keep_no_large_pieces() {}

#[cfg(not(target_env = "gnu"))]
pub fn give_back_what_is_free() {}
