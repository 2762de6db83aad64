//! Accounts of model providers that asked to wait: until then nothing more is asked on them, so that
//! one answer 429 does not become a hundred. In memory: after a restart the first answer tells again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::conversation::retry;
use crate::llm::{Answer, Failure, FailureClass, Model};

/// A tenant is looked at again after this, however long its provider wants to wait: it may have
/// another key by then.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(5);

/// A server and a key, as a number that tells neither.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account(u64);

impl Account {
    pub fn of(model: &Model) -> Self {
        let mut hasher = DefaultHasher::new();
        model.base_url.as_str().hash(&mut hasher);
        model.api_key.as_ref().map(|key| key.expose()).hash(&mut hasher);
        Self(hasher.finish())
    }
}

struct Cooling {
    until: Instant,
    /// How often in a row the provider asked to wait, calls of the same moment counted once.
    times: u32,
}

/// What a call has taught of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its provider asks to wait this long.
    Begins(Duration),
    /// It answers again.
    Ends,
}

#[derive(Default)]
pub struct Cooldowns {
    cooling: RefCell<HashMap<Account, Cooling>>,
    /// The tenants that wait for an account, as far as they were met, and until when they are passed over.
    tenants: RefCell<HashMap<i32, Instant>>,
}

impl Cooldowns {
    /// Learns from the end of a call. `shortest` is the shortest wait where the provider names none.
    /// What has changed by it, if anything.
    pub fn learn(
        &self,
        account: Account,
        result: &Result<Answer, Failure>,
        shortest: Duration,
    ) -> Option<Turn> {
        let now = Instant::now();
        let mut cooling = self.cooling.borrow_mut();
        match result {
            Err(failure) if failure.class == FailureClass::Deferred => {
                let entry = cooling.entry(account).or_insert(Cooling { until: now, times: 0 });
                entry.times += u32::from(entry.until <= now);
                let wait = retry::deferral(shortest, failure.retry_after, entry.times, 0.0);
                let begins = entry.times == 1 && entry.until <= now;
                entry.until = entry.until.max(now + wait);
                begins.then_some(Turn::Begins(wait))
            }
            // It may have been asked before the one that was refused.
            Ok(_) => {
                let is_over = cooling.get(&account).is_some_and(|entry| entry.until <= now);
                if is_over {
                    cooling.remove(&account);
                }
                is_over.then_some(Turn::Ends)
            }
            Err(_) => None,
        }
    }

    /// Whether the tenant, whose account this is, must wait.
    pub fn holds_back(&self, account: Account, tenant_id: i32) -> bool {
        let now = Instant::now();
        let until = self.cooling.borrow().get(&account).map(|cooling| cooling.until);
        let Some(until) = until.filter(|until| *until > now) else { return false };
        self.tenants.borrow_mut().insert(tenant_id, until.min(now + LOOKED_AT_AGAIN));
        true
    }

    /// The tenants that are passed over at this moment.
    pub fn tenants(&self) -> Vec<i32> {
        let now = Instant::now();
        let mut tenants = self.tenants.borrow_mut();
        tenants.retain(|_, until| *until > now);
        tenants.keys().copied().collect()
    }

    /// When the next of them is looked at again.
    pub fn next_end(&self) -> Option<Instant> {
        self.tenants.borrow().values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::exchange::Secret;
    use crate::llm::Provider;

    const SHORTEST: Duration = Duration::from_secs(60);

    fn account(url: &str, key: Option<&str>) -> Account {
        Account::of(&Model {
            provider: Provider::OpenAi,
            base_url: Url::parse(url).unwrap(),
            name: "any".to_owned(),
            max_tokens: 1,
            api_key: key.map(Secret::new),
        })
    }

    fn failed(class: FailureClass) -> Result<Answer, Failure> {
        Err(Failure { class, message: String::new(), retry_after: None })
    }

    #[test]
    fn an_account_is_a_server_and_a_key() {
        let one = account("https://a.example/v1", Some("key"));
        assert!(one == account("https://a.example/v1", Some("key")));
        assert!(one != account("https://a.example/v1", Some("other")));
        assert!(one != account("https://b.example/v1", Some("key")));
        assert!(one != account("https://a.example/v1", None));
    }

    #[test]
    fn only_the_account_that_was_told_to_wait_waits() {
        let (busy, free) = (account("https://a.example", None), account("https://b.example", None));
        let cooldowns = Cooldowns::default();
        cooldowns.learn(busy, &failed(FailureClass::Deferred), SHORTEST);
        cooldowns.learn(free, &failed(FailureClass::Transient), SHORTEST);
        assert!(cooldowns.holds_back(busy, 1));
        assert!(!cooldowns.holds_back(free, 2));
        assert_eq!(cooldowns.tenants(), [1]);
        assert!(cooldowns.next_end().is_some());
    }

    #[test]
    fn many_refusals_of_one_moment_are_one() {
        let busy = account("https://a.example", None);
        let cooldowns = Cooldowns::default();
        let refused = || cooldowns.learn(busy, &failed(FailureClass::Deferred), SHORTEST);
        assert!(matches!(refused(), Some(Turn::Begins(wait)) if wait >= SHORTEST));
        assert!((0..10).all(|_| refused().is_none()), "it has begun already");
        assert_eq!(cooldowns.cooling.borrow()[&busy].times, 1);
    }

    #[test]
    fn an_answer_to_an_earlier_call_does_not_end_the_wait() {
        let busy = account("https://a.example", None);
        let cooldowns = Cooldowns::default();
        cooldowns.learn(busy, &failed(FailureClass::Deferred), SHORTEST);
        let answer = Answer {
            text: "Hello".to_owned(),
            model: "any".to_owned(),
            input_tokens: None,
            output_tokens: None,
            cut_by_limit: false,
        };
        assert_eq!(cooldowns.learn(busy, &Ok(answer), SHORTEST), None);
        assert!(cooldowns.holds_back(busy, 1));
    }
}
