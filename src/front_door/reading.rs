//! The turn of each large body to be read: JSON that is made of its smallest parts takes fifty times its
//! length in memory meanwhile, whoever sent it. It bounds that memory and never looks at the meaning.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::block_in_place;
use tokio::time::timeout;

use super::hall::SMALL_BODY;
use crate::process::memory;

/// Memory for all large texts that are being read. What Evolution writes takes 25 times its length at
/// most, which is 400 MiB for the default of `whaply.max_body`.
const MEMORY_KIB: usize = 512 * 1_024;

/// A value of the tree that a text is read into, with its part of what is around it.
const BYTES_OF_A_PART: usize = 112;

/// What an object takes beside its fields.
const BYTES_OF_AN_OBJECT: usize = 200;

/// The text mended, its words in the tree, and what is kept of it.
const COPIES: usize = 3;

/// Reading takes less than a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that are read before anybody notices; for more, another thread takes over the connections of
/// this one.
const QUICKLY_READ: usize = 256 * 1_024;

/// After more than this the allocator gives back what it would keep, for each thread anew.
const GIVEN_BACK_BEYOND_KIB: usize = 8 * 1_024;

#[derive(Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// There is never memory for so many parts.
    TooManyParts,
    /// Others take too long.
    TooLate,
}

pub struct ReadingRoom {
    memory: Semaphore,
    /// Those who are not known read one at a time, so that who is waits for one of them at most.
    strangers: Semaphore,
}

impl Default for ReadingRoom {
    fn default() -> Self {
        Self { memory: Semaphore::new(MEMORY_KIB), strangers: Semaphore::new(1) }
    }
}

impl ReadingRoom {
    /// What `read` makes of `text`, when it is its turn. Small texts need none.
    pub async fn read<T>(
        &self,
        text: &[u8],
        is_known: bool,
        read: impl FnOnce() -> T,
    ) -> Result<T, NoTurn> {
        if text.len() <= SMALL_BODY {
            return Ok(read());
        }
        let kib = weight(text).div_ceil(1_024);
        let _turn =
            timeout(PATIENCE, self.turn(kib, is_known)).await.or(Err(NoTurn::TooLate))??;
        if text.len() <= QUICKLY_READ {
            return Ok(read());
        }
        Ok(block_in_place(|| {
            let value = read();
            if kib > GIVEN_BACK_BEYOND_KIB {
                memory::give_back_what_is_free();
            }
            value
        }))
    }

    async fn turn(
        &self,
        kib: usize,
        is_known: bool,
    ) -> Result<(Option<SemaphorePermit<'_>>, SemaphorePermit<'_>), NoTurn> {
        if kib > MEMORY_KIB {
            return Err(NoTurn::TooManyParts);
        }
        let kib = u32::try_from(kib).or(Err(NoTurn::TooManyParts))?;
        // An error would mean that the room was closed, which nobody does.
        let own = match is_known {
            true => None,
            false => Some(self.strangers.acquire().await.or(Err(NoTurn::TooLate))?),
        };
        let memory = self.memory.acquire_many(kib).await.or(Err(NoTurn::TooLate))?;
        Ok((own, memory))
    }
}

/// Bytes that reading the text takes at most, by the parts that it can have. What looks like a part
/// within a text counts as well: those are few.
fn weight(text: &[u8]) -> usize {
    let parts = text.iter().map(|byte| match byte {
        b'{' => BYTES_OF_A_PART + BYTES_OF_AN_OBJECT,
        b'[' | b',' | b':' => BYTES_OF_A_PART,
        _ => 0,
    });
    parts.sum::<usize>() + COPIES * text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn_of(room: &ReadingRoom, text: &[u8], is_known: bool) -> Option<Result<(), NoTurn>> {
        use futures_util::FutureExt;
        let kib = weight(text).div_ceil(1_024);
        room.turn(kib, is_known).now_or_never().map(|turn| turn.map(drop))
    }

    #[test]
    fn a_text_weighs_by_its_parts() {
        let file = format!(r#"{{"base64":"{}"}}"#, "x".repeat(15 << 20));
        assert!(weight(file.as_bytes()) < 4 * file.len());
        let numbers = format!("[{}0]", "0,".repeat(1 << 20));
        assert!(weight(numbers.as_bytes()) > 50 * numbers.len());
    }

    #[test]
    fn only_so_much_is_read_at_once_and_strangers_one_at_a_time() {
        let room = ReadingRoom::default();
        let (small, half) = (vec![b'x'; 1_024], vec![b'x'; MEMORY_KIB * 1_024 / 2 / COPIES]);
        assert_eq!(turn_of(&room, &small, false), Some(Ok(())));
        let strangers = room.strangers.try_acquire();
        assert_eq!(turn_of(&room, &small, false), None, "one at a time");
        assert_eq!(turn_of(&room, &small, true), Some(Ok(())));
        let held = room.memory.try_acquire_many(MEMORY_KIB as u32 / 2 + 1);
        assert_eq!(turn_of(&room, &half, true), None, "later");
        assert_eq!(turn_of(&room, &small, true), Some(Ok(())));
        drop((strangers, held));
        assert_eq!(turn_of(&room, &half, true), Some(Ok(())));
        let parts = vec![b','; MEMORY_KIB * 1_024 / BYTES_OF_A_PART];
        assert_eq!(turn_of(&room, &parts, true), Some(Err(NoTurn::TooManyParts)));
    }
}
