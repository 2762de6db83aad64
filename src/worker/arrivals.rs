//! Results of calls that wait to be written, and how many of them a round takes: few enough that its
//! commit comes soon, and answers first, since a customer waits for them. None is ever dropped.

use std::collections::VecDeque;

use super::jobs::Done;

/// Results that one transaction writes at most.
const MOST_AT_ONCE: usize = 200;

/// Of these at least so many that are no answers of a model: the ends of sends must not pile up.
const OTHERS_AT_LEAST: usize = MOST_AT_ONCE / 4;

#[derive(Default)]
pub struct Arrivals {
    answers: VecDeque<Done>,
    others: VecDeque<Done>,
}

impl Arrivals {
    pub fn extend(&mut self, arrived: impl IntoIterator<Item = Done>) {
        for done in arrived {
            let queue = match done {
                Done::Generated { .. } => &mut self.answers,
                _ => &mut self.others,
            };
            queue.push_back(done);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.others.is_empty()
    }

    /// What the next round writes.
    pub fn take(&mut self) -> Vec<Done> {
        let (answers, others) = shares(self.answers.len(), self.others.len());
        let mut taken: Vec<Done> = self.answers.drain(..answers).collect();
        taken.extend(self.others.drain(..others));
        taken
    }
}

/// How many of each are taken.
fn shares(answers: usize, others: usize) -> (usize, usize) {
    let of_answers = answers.min(MOST_AT_ONCE - others.min(OTHERS_AT_LEAST));
    (of_answers, others.min(MOST_AT_ONCE - of_answers))
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn few_results_are_all_taken() {
        assert_eq!(shares(0, 0), (0, 0));
        assert_eq!(shares(3, 5), (3, 5));
        assert_eq!(shares(200, 0), (200, 0));
        assert_eq!(shares(0, 200), (0, 200));
    }

    #[test]
    fn of_many_results_answers_come_first_but_never_alone() {
        assert_eq!(shares(1_000, 0), (200, 0));
        assert_eq!(shares(1_000, 10), (190, 10));
        assert_eq!(shares(1_000, 1_000), (150, 50));
        assert_eq!(shares(100, 1_000), (100, 100));
    }
}
