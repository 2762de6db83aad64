//! Reads answers, however many at once, into bounded memory: small ones always, large ones as long as
//! all of them together keep to a budget.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What every call may read without asking: a model's answer, the answer to a send, most pages of
/// findMessages.
const SMALL: usize = 64 * 1024;

/// Read at a time, and taken from the budget at a time.
const CHUNK: usize = 16 * 1024;

/// What answers beyond [`SMALL`] may take together.
const LARGE_ANSWERS: usize = 64 * 1024 * 1024;

/// Shared by all calls of a caller.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AtomicUsize::new(LARGE_ANSWERS) }
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(super) enum Unread {
    Broken(ureq::Error),
    /// Other answers take the memory; the call may succeed at another time.
    NoRoom,
}

/// What one call has taken, given back when it is over.
struct Taken<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Taken<'_> {
    fn one_more_chunk(&mut self) -> bool {
        let take = |left: usize| left.checked_sub(CHUNK);
        let taken = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        self.bytes += if taken.is_ok() { CHUNK } else { 0 };
        taken.is_ok()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The whole of a body.
pub(super) fn read(mut body: impl Read, budget: &Budget) -> Result<Vec<u8>, Unread> {
    let mut taken = Taken { budget, bytes: 0 };
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        if before + CHUNK > SMALL + taken.bytes && !taken.one_more_chunk() {
            return Err(Unread::NoRoom);
        }
        let read = body.by_ref().take(CHUNK as u64).read_to_end(&mut bytes);
        read.map_err(|error| Unread::Broken(error.into()))?;
        if bytes.len() == before {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_answer_is_read_even_where_there_is_no_room_for_large_ones() {
        let budget = Budget { left: AtomicUsize::new(0) };
        let body = vec![7; SMALL - CHUNK];
        assert_eq!(read(body.as_slice(), &budget).unwrap(), body);
        let large = vec![7; SMALL + 1];
        assert!(matches!(read(large.as_slice(), &budget), Err(Unread::NoRoom)));
    }

    #[test]
    fn a_large_answer_gives_its_room_back() {
        let budget = Budget { left: AtomicUsize::new(SMALL) };
        let body = vec![7; SMALL + CHUNK + 1];
        for _ in 0..3 {
            assert_eq!(read(body.as_slice(), &budget).unwrap().len(), body.len());
        }
        assert_eq!(budget.left.load(Ordering::Relaxed), SMALL);
        assert!(matches!(read(vec![7; 3 * SMALL].as_slice(), &budget), Err(Unread::NoRoom)));
        assert_eq!(budget.left.load(Ordering::Relaxed), SMALL);
    }
}
