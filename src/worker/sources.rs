//! Whether every secret that a tenant names by its source can be read: looked at by the clock, so that
//! view `health` tells it before a customer or a webhook meets it, and again when it is mended. It keeps
//! no secret, and tells none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::keys;
use crate::error::Result;
use crate::secrets::{self, Destination};
use crate::settings;
use crate::store::findings::{self, Finding, Subject};
use crate::store::sources::{self, Named};
use crate::store::tenants::{self, Assistant};

/// How often some tenants are looked at. A source is a file, a variable, or a query.
const LOOK: Duration = Duration::from_secs(5);

/// So many at a time, the others after them: nobody's message waits long for it.
const AT_ONCE: usize = 200;

pub struct Sources {
    next: Instant,
    /// The next look is at the tenants behind this id.
    after: i32,
    /// What is wrong, by tenant.
    found: BTreeMap<i32, Vec<Finding>>,
    /// The table says something else, perhaps what a worker of before has found.
    is_untold: bool,
}

impl Default for Sources {
    fn default() -> Self {
        Self { next: Instant::now(), after: 0, found: BTreeMap::new(), is_untold: true }
    }
}

impl Sources {
    /// The settings that decide what may be read were read again.
    pub fn look_now(&mut self) {
        self.next = Instant::now();
        self.after = 0;
    }

    /// Whether it is time to look; asked once for each time. Nobody is woken for it.
    pub fn take_look(&mut self) -> bool {
        let is_time = self.next <= Instant::now();
        if is_time {
            self.next = Instant::now() + LOOK;
        }
        is_time
    }

    /// In a transaction: the vault is a table.
    pub fn look(&mut self) -> Result<()> {
        let named = sources::named_after(self.after, i64::try_from(AT_ONCE).unwrap_or(i64::MAX))?;
        let last = named.last().map(|one| one.tenant_id).filter(|_| named.len() >= AT_ONCE);
        self.is_untold |= self.learn(last, wrong(&named)?);
        if self.is_untold {
            let found: Vec<Finding> = self.found.values().flatten().cloned().collect();
            self.is_untold = !findings::replace(Subject::Secret, &found)?;
        }
        Ok(())
    }

    /// The transaction of a look failed.
    pub fn failed(&mut self) {
        self.is_untold = true;
    }

    /// What was found of the tenants up to `last` (None: of all that are left). Whether it is news.
    fn learn(&mut self, last: Option<i32>, wrong: Vec<Finding>) -> bool {
        let looked_at = |id: &i32| *id > self.after && last.is_none_or(|last| *id <= last);
        let mut found = self.found.clone();
        found.retain(|id, _| !looked_at(id));
        for finding in wrong {
            found.entry(finding.tenant_id).or_default().push(finding);
        }
        self.after = last.unwrap_or(0);
        let has_changed = found != self.found;
        self.found = found;
        has_changed
    }
}

fn wrong(named: &[Named]) -> Result<Vec<Finding>> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let assistants =
        tenants::assistants(named.iter().map(|one| one.tenant_id), &settings::behaviour())?;
    let trouble = |one: &Named| {
        let problem = trouble(one, assistants.get(&one.tenant_id)?)?;
        Some(Finding { tenant_id: one.tenant_id, object: one.column.clone(), problem })
    };
    Ok(named.iter().filter_map(trouble).collect())
}

/// Why the secret cannot be read, or sent where it would go.
fn trouble(named: &Named, assistant: &Assistant) -> Option<String> {
    match named.column.as_str() {
        "evo_api_key" => keys::trouble_of_gateway_key(assistant),
        "llm_api_key" => keys::trouble_of_model_key(assistant),
        column => secrets::resolve(column, &named.value, Destination::Nowhere).err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(tenant_id: i32, object: &str) -> Finding {
        Finding { tenant_id, object: object.to_owned(), problem: "it is not set".to_owned() }
    }

    #[test]
    fn a_look_at_some_tenants_says_nothing_of_the_others() {
        let mut sources = Sources::default();
        assert!(sources.learn(Some(5), vec![finding(2, "llm_api_key"), finding(5, "evo_api_key")]));
        assert_eq!(sources.after, 5);
        assert!(sources.learn(None, vec![finding(9, "webhook_secret")]));
        assert_eq!(sources.after, 0, "it begins anew");
        assert_eq!(sources.found.keys().copied().collect::<Vec<_>>(), [2, 5, 9]);
        assert!(sources.learn(Some(5), vec![finding(5, "evo_api_key")]), "2 was mended");
        assert!(!sources.learn(None, vec![finding(9, "webhook_secret")]), "nothing is new");
        assert_eq!(sources.found.keys().copied().collect::<Vec<_>>(), [5, 9]);
    }

    #[test]
    fn a_look_is_due_at_once_and_then_after_a_while() {
        let mut sources = Sources::default();
        assert!(sources.take_look());
        assert!(!sources.take_look());
        sources.look_now();
        assert!(sources.take_look());
    }
}
