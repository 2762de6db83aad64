//! Who may post for the instances of a batch: what their tenants accept, with every source read. What was
//! read is kept for a moment, so that a thousand webhooks do not read a file a thousand times. It judges
//! nobody.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::credentials::{Accepted, Kept};
use crate::secrets;
use crate::store::tenants::Credentials;

/// A source that changes is followed after this at the latest; what its former value let in is let in so
/// long.
const READ_LASTS: Duration = Duration::from_secs(5);

/// What does not fit may be new: a source is read again for it, but for nobody more often than this.
/// Strangers must not make the server read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a tenant accepts.
#[derive(Clone)]
pub struct Poster {
    pub tenant_id: i32,
    pub accepted: Accepted,
    /// Why some of it could not be read: whoever presents it may be right.
    pub troubles: Vec<String>,
    /// As its row has it. None: it names no source, and has nothing to read.
    row: Option<Kept>,
}

/// What was read of the sources of tenants, by their ids.
#[derive(Default)]
pub struct Posters(HashMap<i32, Read>);

struct Read {
    poster: Poster,
    at: Instant,
    /// When it was last read for somebody whom it did not fit.
    again_at: Option<Instant>,
}

impl Posters {
    /// By instance. In a transaction, since the vault is a table.
    pub fn of(&mut self, kept: Credentials, now: Instant) -> HashMap<String, Poster> {
        self.of_with(kept, now, secrets::accepted)
    }

    /// Reads once more what this poster accepts, unless that was done a moment ago; whether it did. In the
    /// same transaction.
    pub fn read_again(&mut self, poster: &mut Poster, now: Instant) -> bool {
        self.read_again_with(poster, now, secrets::accepted)
    }

    /// The settings that say what may be read have changed.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    fn of_with(
        &mut self,
        kept: Credentials,
        now: Instant,
        read: impl Fn(Kept) -> secrets::Read,
    ) -> HashMap<String, Poster> {
        self.0.retain(|_, known| now.saturating_duration_since(known.at) < READ_LASTS);
        let posters = kept.into_iter().map(|(instance, (tenant_id, row))| {
            let known =
                self.0.get(&tenant_id).filter(|known| known.poster.row.as_ref() == Some(&row));
            if let Some(known) = known {
                return (instance, known.poster.clone());
            }
            let poster = poster(tenant_id, row, &read);
            if poster.row.is_some() {
                let known = Read { poster: poster.clone(), at: now, again_at: None };
                self.0.insert(tenant_id, known);
            }
            (instance, poster)
        });
        posters.collect()
    }

    fn read_again_with(
        &mut self,
        known_as: &mut Poster,
        now: Instant,
        read: impl Fn(Kept) -> secrets::Read,
    ) -> bool {
        let (Some(row), Some(known)) = (known_as.row.clone(), self.0.get_mut(&known_as.tenant_id))
        else {
            return false;
        };
        let since = |at: Instant| now.saturating_duration_since(at);
        // Of this very batch.
        let is_fresh = known.at == now;
        if is_fresh || known.again_at.is_some_and(|at| since(at) < READ_AGAIN_AFTER) {
            return false;
        }
        *known_as = poster(known_as.tenant_id, row, read);
        *known = Read { poster: known_as.clone(), at: now, again_at: Some(now) };
        true
    }
}

fn poster(tenant_id: i32, row: Kept, read: impl Fn(Kept) -> secrets::Read) -> Poster {
    let secrets::Read { accepted, troubles, names_a_source } = read(row.clone());
    Poster { tenant_id, accepted, troubles, row: names_a_source.then_some(row) }
}

#[cfg(test)]
mod tests;
