//! How much of whom is let in: webhooks of a tenant, and refused posts of an address. Pure: the time
//! is an argument, counted from any fixed moment.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A tenant that was silent may post this much at once.
const BURST: Duration = Duration::from_secs(5);

const MINUTE: Duration = Duration::from_secs(60);

/// Tenants or addresses remembered at most: what cannot be remembered is let in.
const MOST_REMEMBERED: usize = 50_000;

/// A token bucket for each tenant.
#[derive(Debug, Default)]
pub struct Rates {
    buckets: HashMap<i32, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Rates {
    /// Whether the tenant may post one more. `per_second` 0: it always may.
    pub fn admits(&mut self, tenant_id: i32, per_second: u32, now: Duration) -> bool {
        if per_second == 0 {
            return true;
        }
        let rate = f64::from(per_second);
        let most = rate * BURST.as_secs_f64();
        if !has_room(&mut self.buckets, &tenant_id, |bucket| now.saturating_sub(bucket.at) < BURST)
        {
            return true;
        }
        let bucket = self.buckets.entry(tenant_id).or_insert(Bucket { left: most, at: now });
        let earned = now.saturating_sub(bucket.at).as_secs_f64() * rate;
        bucket.left = (bucket.left + earned).min(most);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

/// Refused posts of each address in its present minute.
#[derive(Debug, Default)]
pub struct RefusedPosts {
    minutes: HashMap<IpAddr, Minute>,
}

#[derive(Debug)]
struct Minute {
    began: Duration,
    refused: u32,
}

impl RefusedPosts {
    pub fn note(&mut self, address: IpAddr, now: Duration) {
        let address = household(address);
        if !has_room(&mut self.minutes, &address, |minute| minute.is_now(now)) {
            return;
        }
        let minute = self.minutes.entry(address).or_insert(Minute { began: now, refused: 0 });
        if !minute.is_now(now) {
            *minute = Minute { began: now, refused: 0 };
        }
        minute.refused = minute.refused.saturating_add(1);
    }

    /// Whether an address was refused so often that it is not even heard. `most` 0: never.
    pub fn are_too_many(&self, address: IpAddr, most: u32, now: Duration) -> bool {
        let minute = self.minutes.get(&household(address)).filter(|minute| minute.is_now(now));
        most > 0 && minute.is_some_and(|minute| minute.refused >= most)
    }
}

impl Minute {
    fn is_now(&self, now: Duration) -> bool {
        now.saturating_sub(self.began) < MINUTE
    }
}

/// Who has one IPv6 address has 2^64 of them.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

/// Whether there is a place for `key`, after what is over was forgotten.
fn has_room<K: Hash + Eq, V>(
    places: &mut HashMap<K, V>,
    key: &K,
    is_needed: impl Fn(&V) -> bool,
) -> bool {
    if places.len() >= MOST_REMEMBERED && !places.contains_key(key) {
        places.retain(|_, value| is_needed(value));
    }
    places.len() < MOST_REMEMBERED || places.contains_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_tenant_posts_at_its_rate_after_a_burst_and_another_is_not_touched() {
        let mut rates = Rates::default();
        let burst = (0..100).filter(|_| rates.admits(1, 10, START)).count();
        assert_eq!(burst, 50);
        assert!(rates.admits(2, 10, START));
        let later = START + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| rates.admits(1, 10, later)).count(), 10);
        assert!((0..1_000).all(|_| rates.admits(1, 0, later)));
    }

    #[test]
    fn an_address_is_not_heard_after_too_many_refused_posts_until_its_minute_is_over() {
        let (stranger, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut refused = RefusedPosts::default();
        for _ in 0..3 {
            assert!(!refused.are_too_many(stranger, 3, START));
            refused.note(stranger, START);
        }
        assert!(refused.are_too_many(stranger, 3, START));
        assert!(!refused.are_too_many(stranger, 0, START));
        assert!(!refused.are_too_many(other, 3, START));
        assert!(!refused.are_too_many(stranger, 3, START + MINUTE));
        refused.note(stranger, START + MINUTE);
        assert!(!refused.are_too_many(stranger, 3, START + MINUTE));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_and_a_mapped_ipv4_address_is_itself() {
        let mut refused = RefusedPosts::default();
        refused.note("2001:db8::1".parse().unwrap(), START);
        refused.note("::ffff:192.0.2.1".parse().unwrap(), START);
        assert!(refused.are_too_many("2001:db8::ffff:1".parse().unwrap(), 1, START));
        assert!(!refused.are_too_many("2001:db8:0:1::1".parse().unwrap(), 1, START));
        assert!(refused.are_too_many("192.0.2.1".parse().unwrap(), 1, START));
    }
}
