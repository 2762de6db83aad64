//! Every question has its one answer, and every message its row.

use super::voices::names_are_known;
use super::{Verdict, ensure};
use crate::ledger::{Chat, DeliveryRow, ReplyRow, Said, Spoken, Time, answer_words};

/// How often an answer may be thrown away because the customer had written meanwhile.
const MOST_REQUEUES: i32 = 2;

/// Rule 3: nothing hangs, and nobody is forgotten. Each question ends as answered, or as something
/// that its history explains: a failure needs a trouble, silence needs a pause, and only what the
/// customer took back may go without either.
pub fn every_question_ends(chat: &Chat) -> Verdict {
    for question in chat.questions() {
        let action = chat.action_of(&question.id).unwrap_or("(no row)");
        let is_explained = match action {
            "ai_replied" => question.what != Said::Sticker,
            "ai_failed" => chat.troubles > 0,
            "cancelled_paused" | "ignored_paused" => may_have_been_paused(chat),
            "superseded" | "deleted" => question.is_deleted(),
            "ignored_type" => question.what == Said::Sticker,
            _ => false,
        };
        ensure(is_explained, || format!("{:?} ended as {action}: {question:?}", question.shown))?;
    }
    let mut open = chat.rows.replies.iter().map(|reply| (&reply.state, reply.id));
    let open_reply =
        open.find(|(state, _)| ["waiting", "generating", "sending"].contains(&state.as_str()));
    ensure(open_reply.is_none(), || format!("a reply is still open: {open_reply:?}"))?;
    let mut deliveries = chat.rows.deliveries.iter();
    let open =
        deliveries.find(|row| ["pending", "sending", "uncertain"].contains(&row.state.as_str()));
    ensure(open.is_none(), || format!("a delivery is still open: {open:?}"))?;
    let undecided = chat.rows.events.iter().find(|row| row.action == "pending_echo");
    ensure(undecided.is_none(), || format!("nobody decided {undecided:?}"))
}

fn may_have_been_paused(chat: &Chat) -> bool {
    chat.human_words().next().is_some()
        || chat.operations.iter().any(|done| done.what == crate::ledger::Operation::Pause)
        || (chat.failure_pauses && chat.troubles > 0)
}

/// What "answered" means: one reply was sent in full, all of it came from one call to the model, and
/// what that call read contains the question.
pub fn an_answer_has_read_its_question(chat: &Chat) -> Verdict {
    let answered =
        chat.questions().filter(|question| chat.action_of(&question.id) == Some("ai_replied"));
    for question in answered {
        let reply = reply_to(chat, question)
            .ok_or_else(|| format!("{:?} is answered by no reply", question.shown))?;
        ensure(reply.state == "sent", || format!("{:?} is answered by {reply:?}", question.shown))?;
        // After a failure that was none, the tenant's own words may be there as well.
        let parts = chat.deliveries_of(reply.id).filter(|row| row.kind == "reply");
        for delivery in parts.filter(|row| row.state == "sent") {
            let prompt = chat
                .prompt_of(&delivery.text)
                .ok_or_else(|| format!("nobody generated {:.60?}", delivery.text))?;
            let has_read = question.versions().any(|shown| prompt.text.contains(shown));
            ensure(has_read || question.is_deleted(), || {
                format!("{:.60?} never read {:?}", delivery.text, question.shown)
            })?;
        }
        let said = reply.text.as_deref().unwrap_or_default();
        let mut unsent = answer_words(said).filter(|word| {
            !chat.sent.iter().any(|sent| answer_words(&sent.text).any(|w| w == *word))
        });
        let unsent = unsent.next();
        ensure(unsent.is_none(), || {
            format!("{:?} counts as answered without {unsent:?}", question.shown)
        })?;
    }
    Ok(())
}

fn reply_to<'a>(chat: &'a Chat, question: &Spoken) -> Option<&'a ReplyRow> {
    let row = chat.rows.messages.iter().find(|row| row.message_id == question.id)?;
    chat.rows.replies.iter().find(|reply| Some(reply.id) == row.reply_id)
}

/// Rule 5: whatever the customer had written, changed or taken back before the first part left, the
/// answer has read; only after two answers thrown away is one sent as it is.
pub fn no_stale_answer_is_begun(chat: &Chat) -> Verdict {
    for reply in chat.rows.replies.iter().filter(|reply| reply.requeues < MOST_REQUEUES) {
        // Of a repeated call only the last begin is known, and an answer is never taken back then.
        let is_first =
            |row: &&DeliveryRow| row.kind == "reply" && row.part == 1 && row.attempt == 1;
        let Some(first) = chat.deliveries_of(reply.id).find(is_first) else { continue };
        let (Some(begun_at), Some(prompt)) = (first.attempted_at, chat.prompt_of(&first.text))
        else {
            continue;
        };
        // An older question has been answered, and may be more than this model can read. And before
        // anybody tells that two names are one customer, they are two.
        let asked = chat.questions().filter(|question| {
            reply_to(chat, question).is_some_and(|answer| answer.id >= reply.id)
                && names_are_known(chat, question.typed_at)
        });
        for question in asked.filter(|question| is_before(question.taken_at(), begun_at)) {
            let unread = unread_version(question, begun_at, &prompt.text);
            ensure(unread.is_none(), || {
                format!("{:.40?}, begun at {begun_at}, had not read {unread:?}", first.text)
            })?;
        }
    }
    Ok(())
}

fn is_before(taken_at: Option<Time>, begun_at: Time) -> bool {
    taken_at.is_some_and(|taken_at| taken_at < begun_at)
}

/// How the question stood at a time, where that can be known and the prompt shows something else.
fn unread_version<'a>(question: &'a Spoken, at: Time, prompt: &str) -> Option<&'a str> {
    let is_certain = question.changes.iter().all(|change| is_before(change.taken_at(), at));
    let newest = question.changes.iter().rev().find_map(|change| change.shown.as_deref());
    let stands = newest.unwrap_or(&question.shown);
    let is_standing = !question.is_deleted() && question.what == Said::Words;
    (is_certain && is_standing && !prompt.contains(stands)).then_some(stands)
}

/// What the customer sees is what the tables say was sent: each message has a row, as the
/// assistant's or an operator's, and a delivery under the same id. The one exception is a message of
/// which Evolution kept neither record nor echo: that is held for a person.
pub fn the_tables_agree_with_the_world(chat: &Chat) -> Verdict {
    for sent in &chat.sent {
        let delivery =
            chat.rows.deliveries.iter().find(|row| row.message_id.as_deref() == Some(&sent.id));
        let Some(delivery) = delivery else {
            let held =
                chat.rows.deliveries.iter().find(|row| row.text == sent.text && row.is_held());
            ensure(held.is_some(), || {
                format!("no delivery knows {:?} {:.60?}", sent.id, sent.text)
            })?;
            continue;
        };
        ensure(delivery.state == "sent" && delivery.text == sent.text, || {
            format!("{:.60?} was sent, but {delivery:?}", sent.text)
        })?;
        let message = chat.rows.messages.iter().find(|row| row.message_id == sent.id);
        let ours = message.filter(|row| row.from_me);
        let sender = ours.and_then(|row| row.sender.as_deref());
        let right = if delivery.kind == "operator" { "operator" } else { "assistant" };
        ensure(sender == Some(right), || {
            format!("{:.60?} of {right} is stored as {message:?}", sent.text)
        })?;
    }
    for delivery in chat.rows.deliveries.iter().filter(|row| row.state == "sent") {
        let id = delivery.message_id.as_deref().unwrap_or_default();
        ensure(chat.sent.iter().any(|sent| sent.id == id), || {
            format!("the customer never saw {delivery:?}")
        })?;
    }
    Ok(())
}
