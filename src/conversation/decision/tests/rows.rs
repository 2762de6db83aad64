//! The rows of [`WhoSpoke`], written a second time and another way: each as the whole condition
//! under which it holds, so that it can be seen that one row fits, and always exactly one.

use proptest::prelude::*;

use super::*;
use crate::webhook::Status;

/// All that decides, for one message.
#[derive(Clone, Debug)]
struct Situation {
    sent_through_the_api: bool,
    from_me: bool,
    class: ContentClass,
    text: Option<&'static str>,
    made_by_evolution: bool,
    unverified: bool,
    facts: ChatFacts,
    mode: Mode,
    on_unverified: OnUnverified,
    /// Seconds since it was sent.
    age: i64,
}

const GREETING: &str = "Olá! Já vamos atender.";
const AGE_LIMIT: i64 = 3600;
const AUTO_RESUME_AFTER: i64 = 2 * 3600;

impl Situation {
    /// A customer's text, just sent.
    fn question() -> Self {
        Self {
            sent_through_the_api: false,
            from_me: false,
            class: ContentClass::Question,
            text: Some("Quanto custa?"),
            made_by_evolution: false,
            unverified: false,
            facts: ChatFacts::default(),
            mode: Mode::On,
            on_unverified: OnUnverified::Hold,
            age: 1,
        }
    }

    fn of_the_owner() -> Self {
        Self { from_me: true, text: Some("Deixa comigo"), ..Self::question() }
    }

    fn of_an_api_client() -> Self {
        Self { sent_through_the_api: true, made_by_evolution: true, ..Self::of_the_owner() }
    }

    fn with(self, facts: ChatFacts) -> Self {
        Self { facts, ..self }
    }

    fn message(&self) -> Message {
        let mut message = if self.sent_through_the_api { api_client() } else { customer() };
        message.from_me = self.from_me || self.sent_through_the_api;
        message.content.class = self.class;
        message.content.text = self.text.map(str::to_owned);
        message.status =
            Some(if self.made_by_evolution { Status::Pending } else { Status::ServerAck });
        message.has_addressing_mode = !self.made_by_evolution;
        message.id = if self.unverified { "wamid.FAKE" } else { "A1" }.to_owned();
        message
    }

    fn rules(&self) -> Rules {
        Rules { mode: self.mode, on_unverified: self.on_unverified, ..rules() }
    }

    fn row(&self) -> WhoSpoke {
        who_spoke(&self.message(), self.facts, &self.rules(), at(0), at(self.age))
    }

    fn command(&self) -> Option<Command> {
        match self.text {
            Some("#bot") if !self.sent_through_the_api => Some(Command::Resume),
            Some("#eu") if !self.sent_through_the_api => Some(Command::Hold),
            _ => None,
        }
    }

    /// Whether a row holds, by its own words alone. No condition relies on the order.
    fn fits(&self, row: WhoSpoke) -> bool {
        let facts = &self.facts;
        let ours = self.from_me || self.sent_through_the_api;
        let decidable = ours && !facts.is_our_delivery && !facts.send_in_flight;
        let said = decidable && self.class != ContentClass::Reaction;
        let by_machine = !self.sent_through_the_api
            && (self.made_by_evolution || facts.is_known_greeting || self.text == Some(GREETING));
        let by_somebody = said && !by_machine;
        let later = |time: Option<DateTime<Utc>>| time.is_some_and(|time| time > at(0));
        let overtaken =
            later(facts.steered_at) || (self.command().is_some() && later(facts.last_human_at));
        let too_late = overtaken || self.age > AUTO_RESUME_AFTER;
        let held = !ours
            && self.unverified
            && facts.others_write_too
            && self.on_unverified == OnUnverified::Hold;
        let customer = !ours && !held;
        let question = customer && self.class == ContentClass::Question;
        let fresh = question && self.age <= AGE_LIMIT;
        let answers = match self.mode {
            Mode::Off => false,
            Mode::Test => facts.is_test_chat,
            Mode::Draft | Mode::On => true,
        };
        match row {
            WhoSpoke::Ourselves => ours && facts.is_our_delivery,
            WhoSpoke::NotYetKnown => ours && !facts.is_our_delivery && facts.send_in_flight,
            WhoSpoke::OwnersReaction => decidable && self.class == ContentClass::Reaction,
            WhoSpoke::AutoReply => said && by_machine,
            WhoSpoke::BusinessLongAgo => by_somebody && too_late,
            WhoSpoke::OwnersCommand(command) => {
                by_somebody && !too_late && self.command() == Some(command)
            }
            WhoSpoke::Owner => {
                by_somebody && !too_late && self.command().is_none() && !self.sent_through_the_api
            }
            WhoSpoke::OtherSender => by_somebody && !too_late && self.sent_through_the_api,
            WhoSpoke::Unverified => held,
            WhoSpoke::NotYetThere => customer && self.class == ContentClass::Placeholder,
            WhoSpoke::NothingToAnswer => {
                let nothing = [ContentClass::Reaction, ContentClass::NothingToAnswer];
                customer && nothing.contains(&self.class)
            }
            WhoSpoke::CustomerLongAgo => question && self.age > AGE_LIMIT,
            WhoSpoke::CustomerOfTheHuman => fresh && facts.is_paused,
            WhoSpoke::CustomerLeftAlone => fresh && !facts.is_paused && !answers,
            WhoSpoke::Customer => fresh && !facts.is_paused && answers,
        }
    }
}

const ROWS: [WhoSpoke; 16] = [
    WhoSpoke::Ourselves,
    WhoSpoke::NotYetKnown,
    WhoSpoke::OwnersReaction,
    WhoSpoke::AutoReply,
    WhoSpoke::BusinessLongAgo,
    WhoSpoke::OwnersCommand(Command::Resume),
    WhoSpoke::OwnersCommand(Command::Hold),
    WhoSpoke::Owner,
    WhoSpoke::OtherSender,
    WhoSpoke::Unverified,
    WhoSpoke::NotYetThere,
    WhoSpoke::NothingToAnswer,
    WhoSpoke::CustomerLongAgo,
    WhoSpoke::CustomerOfTheHuman,
    WhoSpoke::CustomerLeftAlone,
    WhoSpoke::Customer,
];

#[test]
fn each_row_of_the_table_has_its_action() {
    let (question, owner) = (Situation::question, Situation::of_the_owner);
    let client = Situation::of_an_api_client;
    let facts = ChatFacts::default();
    let table = [
        (6, client().with(ChatFacts { is_our_delivery: true, ..facts }), Action::OwnEcho),
        (7, client().with(ChatFacts { send_in_flight: true, ..facts }), Action::PendingEcho),
        (8, Situation { class: ContentClass::Reaction, ..owner() }, Action::IgnoredType),
        (9, Situation { made_by_evolution: true, ..owner() }, Action::IgnoredAutoReply),
        (9, Situation { text: Some(GREETING), ..owner() }, Action::IgnoredAutoReply),
        (9, owner().with(ChatFacts { is_known_greeting: true, ..facts }), Action::IgnoredAutoReply),
        (10, Situation { age: AUTO_RESUME_AFTER + 1, ..owner() }, Action::IgnoredOld),
        (10, owner().with(ChatFacts { steered_at: Some(at(1)), ..facts }), Action::IgnoredOld),
        (11, owner(), Action::Paused),
        (11, Situation { text: Some("#bot"), ..owner() }, Action::Resumed),
        (11, Situation { text: Some("#eu"), ..owner() }, Action::Held),
        (12, client(), Action::OtherSender),
        (13, Situation { class: ContentClass::Placeholder, ..question() }, Action::IgnoredType),
        (
            13,
            Situation { unverified: true, ..question() }
                .with(ChatFacts { others_write_too: true, ..facts }),
            Action::IgnoredUnverified,
        ),
        (14, Situation { class: ContentClass::NothingToAnswer, ..question() }, Action::IgnoredType),
        (14, Situation { class: ContentClass::Reaction, ..question() }, Action::IgnoredType),
        (15, Situation { age: AGE_LIMIT + 1, ..question() }, Action::IgnoredOld),
        (16, question().with(ChatFacts { is_paused: true, ..facts }), Action::IgnoredPaused),
        (17, Situation { mode: Mode::Off, ..question() }, Action::IgnoredMode),
        (17, question(), Action::AiQueued),
    ];
    for (number, situation, action) in table {
        let (message, rules) = (situation.message(), situation.rules());
        let decision = decide(&message, situation.facts, &rules, at(0), at(situation.age));
        assert_eq!(decision.action, action, "row {number}: {situation:#?}");
    }
}

fn any_time() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    prop_oneof![Just(None), (-5i64..5).prop_map(|seconds| Some(at(seconds)))]
}

fn any_facts() -> impl Strategy<Value = ChatFacts> {
    let seldom = || prop::bool::weighted(0.2);
    let flags = (seldom(), seldom(), any::<bool>(), any::<bool>(), seldom(), any::<bool>());
    (flags, any_time(), any_time()).prop_map(|(flags, last_human_at, steered_at)| ChatFacts {
        is_our_delivery: flags.0,
        send_in_flight: flags.1,
        is_paused: flags.2,
        is_test_chat: flags.3,
        is_known_greeting: flags.4,
        others_write_too: flags.5,
        last_human_at,
        steered_at,
    })
}

fn any_situation() -> impl Strategy<Value = Situation> {
    let class = prop_oneof![
        4 => Just(ContentClass::Question),
        1 => Just(ContentClass::Reaction),
        1 => Just(ContentClass::NothingToAnswer),
        1 => Just(ContentClass::Placeholder),
    ];
    let text = prop::option::of(prop::sample::select(vec!["Oi", "#bot", "#eu", GREETING]));
    let mode = prop::sample::select(vec![Mode::Off, Mode::Draft, Mode::Test, Mode::On]);
    let on_unverified = prop::sample::select(vec![OnUnverified::Hold, OnUnverified::Answer]);
    let ages = vec![0, AGE_LIMIT, AGE_LIMIT + 1, AUTO_RESUME_AFTER, AUTO_RESUME_AFTER + 1];
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3), any::<bool>());
    (flags, class, text, any_facts(), mode, on_unverified, prop::sample::select(ages)).prop_map(
        |(flags, class, text, facts, mode, on_unverified, age)| Situation {
            sent_through_the_api: flags.0,
            from_me: flags.1,
            made_by_evolution: flags.2,
            unverified: flags.3,
            class,
            text,
            facts,
            mode,
            on_unverified,
            age,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn exactly_one_row_fits_whatever_comes(situation in any_situation()) {
        let fitting: Vec<WhoSpoke> =
            ROWS.into_iter().filter(|row| situation.fits(*row)).collect();
        prop_assert_eq!(fitting, vec![situation.row()]);
    }
}
