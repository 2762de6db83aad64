//! Which events of a batch have to do with each other: those that share a key, directly or through
//! others. Pure; it knows nothing of what a key stands for.

use std::collections::HashMap;
use std::hash::Hash;

/// The groups of events, named by their places: in each in the order of arrival, the groups in the order
/// of their first events. `keys` are those of each event; an event without keys is alone.
pub fn groups<K: Eq + Hash>(keys: impl Iterator<Item = Vec<K>>) -> Vec<Vec<usize>> {
    let mut leaders = Leaders(Vec::new());
    let mut first_with: HashMap<K, usize> = HashMap::new();
    for (event, keys) in keys.enumerate() {
        leaders.0.push(event);
        for key in keys {
            let other = *first_with.entry(key).or_insert(event);
            leaders.unite(event, other);
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); leaders.0.len()];
    for event in 0..leaders.0.len() {
        if let Some(group) = groups.get_mut(leaders.of(event)) {
            group.push(event);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// For each event an earlier one of its group, or itself if it is the first.
struct Leaders(Vec<usize>);

impl Leaders {
    fn of(&mut self, event: usize) -> usize {
        let mut first = event;
        while let Some(&earlier) = self.0.get(first).filter(|&&earlier| earlier != first) {
            first = earlier;
        }
        // The way is short the next time.
        if let Some(leader) = self.0.get_mut(event) {
            *leader = first;
        }
        first
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        if let Some(leader) = self.0.get_mut(one.max(other)) {
            *leader = one.min(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::groups;

    fn of(keys: &[&[&str]]) -> Vec<Vec<usize>> {
        groups(keys.iter().map(|keys| keys.to_vec()))
    }

    #[test]
    fn events_without_a_common_key_are_alone() {
        assert_eq!(of(&[&["a"], &["b"], &[]]), [[0], [1], [2]]);
    }

    #[test]
    fn a_later_event_brings_two_groups_together() {
        assert_eq!(
            of(&[&["lid"], &["x"], &["phone"], &["lid", "phone"]]),
            [vec![0, 2, 3], vec![1]]
        );
    }

    #[test]
    fn a_chain_of_keys_is_one_group_in_the_order_of_arrival() {
        assert_eq!(of(&[&["d", "c"], &["a", "b"], &["b", "c"], &["a"]]), [[0, 1, 2, 3]]);
    }
}
