//! Who spoke and what follows, message by message: each row of [`WhoSpoke`], and those that come close to it.

mod rows;

use super::*;
use crate::webhook::{Body, read};

fn rules() -> Rules {
    Rules {
        mode: Mode::On,
        groups: false,
        age_limit: Duration::minutes(60),
        auto_resume_after: Duration::hours(2),
        on_other_sender: OnOtherSender::Pause,
        auto_reply_texts: vec!["Olá! Já vamos atender.".to_owned()],
        on_unverified: OnUnverified::Hold,
        commands: CommandWords { resume: Some("#bot".to_owned()), hold: Some("#eu".to_owned()) },
    }
}

/// The moment at which the messages below were sent.
const SENT: i64 = 1_761_055_199;

fn at(seconds_later: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(SENT + seconds_later, 0).unwrap()
}

fn message(event: &str, key: &str, rest: &str) -> Message {
    let text = format!(
        r#"{{"event":"{event}","instance":"loja-demo","sender":"5511988880000@s.whatsapp.net",
            "data":{{"key":{{"id":"A1",{key}}},"messageTimestamp":{SENT},{rest}}}}}"#
    );
    match read(&text).unwrap().body {
        Body::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

const CUSTOMER: &str = r#""remoteJid":"5511999990001@s.whatsapp.net","fromMe":false"#;
const OWNER: &str =
    r#""remoteJid":"5511999990001@s.whatsapp.net","fromMe":true,"addressingMode":"pn""#;
const API: &str = r#""remoteJid":"5511999990001@s.whatsapp.net","fromMe":true"#;
const TEXT: &str =
    r#""status":"SERVER_ACK","messageType":"conversation","message":{"conversation":"Oi"}"#;

fn customer() -> Message {
    message("messages.upsert", CUSTOMER, TEXT)
}

fn owner() -> Message {
    message("messages.upsert", OWNER, TEXT)
}

fn api_client() -> Message {
    message("send.message", API, TEXT)
}

fn decided(message: &Message, facts: ChatFacts) -> Decision {
    decide(message, facts, &rules(), at(0), at(1))
}

#[test]
fn a_customer_text_is_a_question() {
    let decision = decided(&customer(), ChatFacts::default());
    assert_eq!(decision.action, Action::AiQueued);
    assert!(decision.queue && decision.leaves_row);
    assert_eq!(decision.store_as, Some(Sender::Customer));
    assert_eq!(decision.takeover, None);
}

#[test]
fn a_voice_note_without_text_is_a_question_too() {
    let voice = message(
        "messages.upsert",
        CUSTOMER,
        r#""messageType":"audioMessage","message":{"audioMessage":{"ptt":true,"seconds":3}}"#,
    );
    assert_eq!(decided(&voice, ChatFacts::default()).action, Action::AiQueued);
}

#[test]
fn a_paused_chat_stores_the_question_and_queues_nothing() {
    let facts = ChatFacts { is_paused: true, ..ChatFacts::default() };
    let decision = decided(&customer(), facts);
    assert_eq!(decision.action, Action::IgnoredPaused);
    assert!(!decision.queue);
    assert_eq!(decision.store_as, Some(Sender::Customer));
}

#[test]
fn the_owner_on_the_phone_takes_over() {
    let decision = decided(&owner(), ChatFacts::default());
    assert_eq!(decision.action, Action::Paused);
    assert_eq!(decision.takeover, Some(Takeover { reason: PauseReason::HumanTakeover }));
    assert_eq!(decision.store_as, Some(Sender::Owner));
    assert!(decision.human_spoke);
}

#[test]
fn a_message_with_the_id_of_our_delivery_is_our_echo_whatever_its_event() {
    let facts = ChatFacts { is_our_delivery: true, ..ChatFacts::default() };
    for message in [owner(), api_client()] {
        let decision = decided(&message, facts);
        assert_eq!(decision.action, Action::OwnEcho);
        assert_eq!(decision.takeover, None);
    }
}

#[test]
fn while_a_send_is_in_flight_an_unknown_id_is_undecided() {
    let facts = ChatFacts { send_in_flight: true, ..ChatFacts::default() };
    for message in [owner(), api_client()] {
        let decision = decided(&message, facts);
        assert_eq!(decision.action, Action::PendingEcho);
        assert_eq!(decision.takeover, None);
    }
}

#[test]
fn another_api_client_pauses_unless_the_tenant_says_it_is_a_machine() {
    let pausing = decided(&api_client(), ChatFacts::default());
    assert_eq!(pausing.action, Action::OtherSender);
    assert_eq!(pausing.takeover, Some(Takeover { reason: PauseReason::OtherSender }));

    let rules = Rules { on_other_sender: OnOtherSender::Ignore, ..rules() };
    let ignoring = decide(&api_client(), ChatFacts::default(), &rules, at(0), at(1));
    assert_eq!((ignoring.action, ignoring.takeover), (Action::OtherSender, None));
}

#[test]
fn an_owners_reaction_says_nothing() {
    let reaction = message(
        "messages.upsert",
        OWNER,
        r#""messageType":"reactionMessage","message":{"reactionMessage":{"text":"❤️"}}"#,
    );
    let decision = decided(&reaction, ChatFacts::default());
    assert_eq!((decision.action, decision.store_as), (Action::IgnoredType, None));
}

#[test]
fn evolutions_answer_to_a_call_and_a_known_greeting_are_no_takeover() {
    let call = message(
        "messages.upsert",
        API,
        r#""status":"PENDING","messageType":"conversation","message":{"conversation":"Não atendo ligações"}"#,
    );
    let greeting = message(
        "messages.upsert",
        OWNER,
        r#""status":"SERVER_ACK","messageType":"conversation","message":{"conversation":" Olá! Já vamos atender. "}"#,
    );
    for message in [call, greeting] {
        let decision = decided(&message, ChatFacts::default());
        assert_eq!((decision.action, decision.takeover), (Action::IgnoredAutoReply, None));
        assert_eq!(decision.store_as, Some(Sender::AutoReply));
    }
}

#[test]
fn an_owners_message_older_than_the_pause_it_would_cause_does_not_pause() {
    let decision = decide(&owner(), ChatFacts::default(), &rules(), at(0), at(2 * 3600 + 1));
    assert_eq!((decision.action, decision.takeover), (Action::IgnoredOld, None));
    assert!(decision.human_spoke);
    let just_in_time = decide(&owner(), ChatFacts::default(), &rules(), at(0), at(2 * 3600));
    assert_eq!(just_in_time.action, Action::Paused);
}

#[test]
fn an_old_question_is_history() {
    let old = decide(&customer(), ChatFacts::default(), &rules(), at(0), at(3601));
    assert_eq!((old.action, old.queue), (Action::IgnoredOld, false));
    let young = decide(&customer(), ChatFacts::default(), &rules(), at(0), at(3600));
    assert_eq!(young.action, Action::AiQueued);
}

#[test]
fn a_placeholder_is_stored_without_a_row_so_that_its_content_can_still_act() {
    let placeholder =
        message("messages.upsert", CUSTOMER, r#""messageType":"unknown","message":{}"#);
    let decision = decided(&placeholder, ChatFacts::default());
    assert_eq!(decision.action, Action::IgnoredType);
    assert!(!decision.leaves_row && !decision.queue);
}

#[test]
fn a_sticker_and_a_reaction_of_the_customer_are_stored_and_not_answered() {
    for (kind, content) in [("stickerMessage", "{}"), ("reactionMessage", r#"{"text":"👍"}"#)] {
        let rest = format!(r#""messageType":"{kind}","message":{{"{kind}":{content}}}"#);
        let decision = decided(&message("messages.upsert", CUSTOMER, &rest), ChatFacts::default());
        assert_eq!((decision.action, decision.queue), (Action::IgnoredType, false));
        assert!(decision.leaves_row);
    }
}

#[test]
fn the_mode_says_which_chats_are_answered() {
    let action = |mode, is_test_chat| {
        let facts = ChatFacts { is_test_chat, ..ChatFacts::default() };
        decide(&customer(), facts, &Rules { mode, ..rules() }, at(0), at(1)).action
    };
    assert_eq!(action(Mode::Off, true), Action::IgnoredMode);
    assert_eq!(action(Mode::Test, false), Action::IgnoredMode);
    assert_eq!(action(Mode::Test, true), Action::AiQueued);
    assert_eq!(action(Mode::Draft, false), Action::AiQueued);
}

fn own_names(jid: &Option<Jid>) -> OwnNames<'_> {
    OwnNames { jid: jid.as_ref(), lids: &[] }
}

#[test]
fn what_is_no_chat_with_a_person_is_left_aside() {
    let own = crate::webhook::Jid::new("5511988880000@s.whatsapp.net");
    let aside = |jid: &str| {
        let key = format!(r#""remoteJid":"{jid}","fromMe":false"#);
        not_a_person(&message("messages.upsert", &key, TEXT), own_names(&own), &rules())
    };
    assert_eq!(aside("5511999990001@s.whatsapp.net"), None);
    assert_eq!(aside("100000000000001@lid"), None);
    assert_eq!(aside("120363000000000001@g.us"), Some(Action::IgnoredGroup));
    assert_eq!(aside("status@broadcast"), Some(Action::IgnoredBroadcast));
    assert_eq!(aside("120363@newsletter"), Some(Action::IgnoredNewsletter));
    assert_eq!(aside("5511988880000@s.whatsapp.net"), Some(Action::IgnoredSelf));
}

#[test]
fn an_enabled_group_is_a_chat_only_when_the_business_is_mentioned() {
    let own = crate::webhook::Jid::new("5511988880000@s.whatsapp.net");
    let rules = Rules { groups: true, ..rules() };
    let key = r#""remoteJid":"120363000000000001@g.us","participant":"5511999990001@s.whatsapp.net","fromMe":false"#;
    let mention =
        format!(r#""contextInfo":{{"mentionedJid":["5511988880000@s.whatsapp.net"]}},{TEXT}"#);
    let mentioned = message("messages.upsert", key, &mention);
    assert_eq!(not_a_person(&mentioned, own_names(&own), &rules), None);
    let not_mentioned = message("messages.upsert", key, TEXT);
    assert_eq!(not_a_person(&not_mentioned, own_names(&own), &rules), Some(Action::IgnoredGroup));
}

#[test]
fn the_businesss_own_lid_is_no_customer_and_may_be_mentioned() {
    let lids = ["200000000000002@lid".to_owned()];
    let own = OwnNames { jid: None, lids: &lids };
    let note = r#""remoteJid":"200000000000002@lid","fromMe":true"#;
    let note = message("messages.upsert", note, TEXT);
    assert_eq!(not_a_person(&note, own, &rules()), Some(Action::IgnoredSelf));
    let customer = r#""remoteJid":"200000000000002@lid","fromMe":false"#;
    let customer = message("messages.upsert", customer, TEXT);
    assert_eq!(not_a_person(&customer, own, &rules()), None, "nobody else writes under our name");
    let key = r#""remoteJid":"120363000000000001@g.us","fromMe":false"#;
    let mention = format!(r#""contextInfo":{{"mentionedJid":["200000000000002@lid"]}},{TEXT}"#);
    let mentioned = message("messages.upsert", key, &mention);
    assert_eq!(not_a_person(&mentioned, own, &Rules { groups: true, ..rules() }), None);
}

fn owner_says(text: &str) -> Message {
    let rest = format!(
        r#""status":"SERVER_ACK","messageType":"conversation","message":{{"conversation":"{text}"}}"#
    );
    message("messages.upsert", OWNER, &rest)
}

#[test]
fn the_owners_words_alone_are_commands_whatever_their_case() {
    for (text, command, action) in [
        ("#bot", Command::Resume, Action::Resumed),
        (" #BOT ", Command::Resume, Action::Resumed),
        ("#eu", Command::Hold, Action::Held),
    ] {
        let decision = decided(&owner_says(text), ChatFacts::default());
        assert_eq!((decision.action, decision.command), (action, Some(command)));
        assert_eq!((decision.takeover, decision.human_spoke), (None, false));
        assert_eq!(decision.store_as, Some(Sender::Command));
    }
    let said = decided(&owner_says("what is #bot?"), ChatFacts::default());
    assert_eq!(said.action, Action::Paused);
}

#[test]
fn a_word_that_is_not_set_is_no_command() {
    let rules = Rules { commands: CommandWords::default(), ..rules() };
    let decision = decide(&owner_says("#bot"), ChatFacts::default(), &rules, at(0), at(1));
    assert_eq!(decision.action, Action::Paused);
}

#[test]
fn only_the_owner_commands() {
    let by_api = r##""messageType":"conversation","message":{"conversation":"#bot"}"##;
    let by_api = decided(&message("send.message", API, by_api), ChatFacts::default());
    assert_eq!(by_api.action, Action::OtherSender);
    let customer = r##""messageType":"conversation","message":{"conversation":"#bot"}"##;
    let customer = decided(&message("messages.upsert", CUSTOMER, customer), ChatFacts::default());
    assert_eq!(customer.action, Action::AiQueued);
}

#[test]
fn the_owners_newest_word_counts_in_whatever_order_the_webhooks_come() {
    let steered_later = ChatFacts { steered_at: Some(at(1)), ..ChatFacts::default() };
    let before_the_command = decided(&owner_says("I take this"), steered_later);
    assert_eq!(
        (before_the_command.action, before_the_command.takeover),
        (Action::IgnoredOld, None)
    );
    let wrote_later = ChatFacts { last_human_at: Some(at(1)), ..ChatFacts::default() };
    let before_the_words = decided(&owner_says("#bot"), wrote_later);
    assert_eq!((before_the_words.action, before_the_words.command), (Action::IgnoredOld, None));
    assert_eq!(before_the_words.store_as, Some(Sender::Command));
    let in_the_same_second = ChatFacts { steered_at: Some(at(0)), ..ChatFacts::default() };
    assert_eq!(decided(&owner_says("I take this"), in_the_same_second).action, Action::Paused);
}

#[test]
fn words_that_came_as_promptly_in_other_chats_are_a_machines() {
    let facts = ChatFacts { is_known_greeting: true, ..ChatFacts::default() };
    let decision = decided(&owner_says("We open at nine"), facts);
    assert_eq!((decision.action, decision.takeover), (Action::IgnoredAutoReply, None));
}

#[test]
fn a_message_of_the_cloud_api_that_tells_no_number_is_left_to_a_person_while_others_write() {
    let mut unverified = customer();
    unverified.id = "wamid.FAKE".to_owned();
    let busy = ChatFacts { others_write_too: true, ..ChatFacts::default() };
    let held = decided(&unverified, busy);
    assert_eq!((held.action, held.queue), (Action::IgnoredUnverified, false));
    assert_eq!(held.store_as, Some(Sender::Unverified));
    assert_eq!(decided(&unverified, ChatFacts::default()).action, Action::AiQueued);
    let trusting = Rules { on_unverified: OnUnverified::Answer, ..rules() };
    assert_eq!(decide(&unverified, busy, &trusting, at(0), at(1)).action, Action::AiQueued);
    let mut verified = unverified.clone();
    verified.cloud_number = Some("5511999990001".to_owned());
    assert_eq!(decided(&verified, busy).action, Action::AiQueued);
}
