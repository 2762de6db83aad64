//! Ends conversations that no person leads: two machines that answer each other, or a flood. Compares
//! what was answered with the limits; it counts nothing itself and pauses nothing.

use chrono::Duration;

/// What was answered within the window, and what is about to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub of_chat: i64,
    /// Those of the chat included.
    pub of_tenant: i64,
}

/// The most answers within `window`. 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub per_chat: i32,
    pub per_tenant: i32,
    pub window: Duration,
}

/// Which limit forbids one more answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    Chat,
    Tenant,
}

impl Limits {
    pub fn are_none(&self) -> bool {
        self.per_chat <= 0 && self.per_tenant <= 0
    }

    /// The limit that one more answer would break. The chat's comes first: it tells more.
    pub fn reached_by(&self, answers: Answers) -> Option<Reached> {
        let reached = |limit: i32, count: i64| limit > 0 && count >= i64::from(limit);
        if reached(self.per_chat, answers.of_chat) {
            Some(Reached::Chat)
        } else {
            reached(self.per_tenant, answers.of_tenant).then_some(Reached::Tenant)
        }
    }

    /// Which limit it is and what to do, for `replies.error`.
    pub fn explain(&self, reached: Reached) -> String {
        let seconds = self.window.num_milliseconds() as f64 / 1e3;
        match reached {
            Reached::Chat => format!(
                "loop_guard: this chat had {} answers within {seconds} s (answers_per_chat), so that the other side \
                 may be a machine; look at the chat, then resume_session, or raise tenants.answers_per_chat",
                self.per_chat
            ),
            Reached::Tenant => format!(
                "loop_guard: the tenant gave {} answers within {seconds} s (answers_per_tenant); look at view \
                 recent_activity, then resume_sessions(instance_name, 'loop_guard'), or raise \
                 tenants.answers_per_tenant",
                self.per_tenant
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_chat: i32, per_tenant: i32) -> Limits {
        Limits { per_chat, per_tenant, window: Duration::seconds(600) }
    }

    fn answers(of_chat: i64, of_tenant: i64) -> Answers {
        Answers { of_chat, of_tenant }
    }

    #[test]
    fn the_answer_after_the_last_allowed_one_is_one_too_many() {
        assert_eq!(limits(3, 0).reached_by(answers(2, 2)), None);
        assert_eq!(limits(3, 0).reached_by(answers(3, 3)), Some(Reached::Chat));
        assert_eq!(limits(3, 0).reached_by(answers(4, 4)), Some(Reached::Chat));
    }

    #[test]
    fn many_quiet_chats_reach_the_limit_of_the_tenant() {
        assert_eq!(limits(3, 10).reached_by(answers(1, 9)), None);
        assert_eq!(limits(3, 10).reached_by(answers(1, 10)), Some(Reached::Tenant));
        assert_eq!(limits(3, 10).reached_by(answers(3, 10)), Some(Reached::Chat));
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(limits(0, 0).reached_by(answers(1_000_000, 1_000_000)), None);
        assert!(limits(0, 0).are_none() && !limits(0, 1).are_none());
    }

    #[test]
    fn the_words_name_the_limit_and_what_to_do() {
        let words = limits(30, 600).explain(Reached::Chat);
        assert!(words.contains("30 answers within 600 s (answers_per_chat)"), "{words}");
        assert!(words.contains("resume_session"), "{words}");
        let words = limits(30, 600).explain(Reached::Tenant);
        assert!(words.contains("600 answers within 600 s (answers_per_tenant)"), "{words}");
    }
}
