//! What a worker holds in memory: the replies its threads are generating, and the results that
//! could not be recorded yet. It never reclaims what it holds itself.

use std::collections::HashSet;

use super::jobs::Done;

#[derive(Default)]
pub struct Claims {
    generating: HashSet<i64>,
    /// Results whose session somebody else has locked: tried again at the next round.
    pub unrecorded: Vec<Done>,
}

impl Claims {
    pub fn hold(&mut self, reply_id: i64) {
        self.generating.insert(reply_id);
    }

    /// A result has been written, or given up.
    pub fn forget(&mut self, done: &Done) {
        if let Done::Generated { claim, .. } = done {
            self.generating.remove(&claim.reply_id);
        }
    }

    pub fn held(&self) -> Vec<i64> {
        self.generating.iter().copied().collect()
    }

    pub fn generating(&self) -> usize {
        self.generating.len()
    }
}
