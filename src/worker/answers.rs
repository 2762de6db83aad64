//! generating -> what the models' answers, or their failures, mean for the replies, all of a round by a
//! few statements. An answer is only used if the claim still stands, nobody took over, and the customer
//! has not written since.

use std::collections::{HashMap, HashSet};

use super::endings;
use super::jobs::ReplyClaim;
use super::modes::{Silence, silence_of};
use super::terms::Terms;
use crate::conversation::split::{self, Split};
use crate::conversation::{Mode, whatsapp_text};
use crate::error::Result;
use crate::intake::consequences;
use crate::llm::{Answer, Failure, FailureClass, Provider};
use crate::store::many_deliveries::{self, Part};
use crate::store::many_replies::{self, Locked};
use crate::store::replies::{self, OpenState, Reply, Requeue};
use crate::store::tenants::{self, Assistant};

/// What a call to a model came to.
pub struct Generated<'a> {
    pub claim: ReplyClaim,
    pub provider: Provider,
    pub result: std::result::Result<&'a Answer, &'a Failure>,
}

/// Writes what calls to models came to; the replies that somebody holds, to be written later.
pub fn record(generated: &[Generated<'_>], terms: Terms<'_>) -> Result<HashSet<i64>> {
    if generated.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = generated.iter().map(|one| one.claim.reply_id).collect();
    let (locked, held) = lock(&ids)?;
    let tenant_ids = locked.values().map(|one| one.reply.chat.tenant_id);
    let assistants = tenants::assistants(tenant_ids, terms.defaults)?;
    let (mut answers, mut parts, mut drafts) = (Vec::new(), Vec::new(), Vec::new());
    for one in generated {
        let Some(Locked { reply, session }) = locked.get(&one.claim.reply_id) else { continue };
        let still_claimed =
            reply.state == OpenState::Generating && reply.attempt == one.claim.attempt;
        let assistant = assistants.get(&reply.chat.tenant_id).filter(|_| still_claimed);
        let Some(assistant) = assistant else { continue };
        if session.is_paused {
            let why = "the chat was paused while the model answered";
            consequences::stop_speaking(&reply.chat, why, true)?;
            continue;
        }
        if let Some(Silence::Off(why)) = silence_of(assistant, &reply.chat)? {
            endings::switched_off(reply, why)?;
            continue;
        }
        let Some(written) = use_answer(one, reply, assistant, terms)? else { continue };
        if assistant.mode == Mode::Draft {
            drafts.push((reply, assistant));
        } else {
            parts.extend(written.parts);
        }
        answers.push(written.answer);
    }
    if !answers.is_empty() {
        many_replies::answered(&answers)?;
    }
    if !parts.is_empty() {
        many_deliveries::add_parts(&parts)?;
    }
    for (reply, assistant) in drafts {
        endings::keep_as_draft(reply, assistant, terms.now)?;
    }
    Ok(held)
}

/// Those of these replies that are open, locked, and those that somebody else has locked.
fn lock(ids: &[i64]) -> Result<(HashMap<i64, Locked>, HashSet<i64>)> {
    let locked: HashMap<i64, Locked> =
        many_replies::lock(ids)?.into_iter().map(|one| (one.reply.id, one)).collect();
    let missing: Vec<i64> = ids.iter().copied().filter(|id| !locked.contains_key(id)).collect();
    let held = if missing.is_empty() { HashMap::new() } else { many_replies::open(&missing)? };
    Ok((locked, held.into_keys().collect()))
}

/// An answer as it goes out on WhatsApp.
struct Written {
    answer: many_replies::Answer,
    /// The messages it is sent as: one at least.
    parts: Vec<Part>,
}

/// The answer to write. None: there is none to use, and the reply has ended or is asked again.
fn use_answer(
    one: &Generated<'_>,
    reply: &Reply,
    assistant: &Assistant,
    terms: Terms<'_>,
) -> Result<Option<Written>> {
    let failure = match one.result {
        Ok(_) if endings::is_stale(reply) => {
            let due_at = endings::due_again(reply, assistant, terms.now)?;
            replies::requeue(reply.id, Requeue::Stale, due_at, None)?;
            return Ok(None);
        }
        Ok(answer) => match write_out(answer, one.provider, reply) {
            Some(written) => return Ok(Some(written)),
            None => &nothing_but_marks(),
        },
        Err(failure) => failure,
    };
    endings::after_failure(reply, assistant, failure, terms)?;
    Ok(None)
}

/// None: it has no word in it.
fn write_out(answer: &Answer, provider: Provider, reply: &Reply) -> Option<Written> {
    let text = whatsapp_text::from_markdown(&answer.text);
    let Split { parts, cut_characters } = split::split(&text, split::PART_LIMIT, split::MOST_PARTS);
    if parts.is_empty() {
        return None;
    }
    let parts = (1..).zip(parts).map(|(part, text)| Part {
        reply_id: reply.id,
        tenant_id: reply.chat.tenant_id,
        chat_id: reply.chat.chat_id.clone(),
        part,
        text,
    });
    let answer = many_replies::Answer {
        reply_id: reply.id,
        text,
        provider: provider.as_str(),
        model: answer.model.clone(),
        input_tokens: answer.input_tokens,
        output_tokens: answer.output_tokens,
        note: note(answer, cut_characters),
    };
    Some(Written { answer, parts: parts.collect() })
}

/// An answer such as "---": a reply without a message to send would stay open for ever.
fn nothing_but_marks() -> Failure {
    let message = "the model's answer was Markdown without a word in it; it is asked again";
    Failure { class: FailureClass::Transient, message: message.to_owned(), retry_after: None }
}

/// What was cut from a good answer, for `replies.error`.
fn note(answer: &Answer, cut_characters: usize) -> Option<String> {
    match (answer.cut_by_limit, cut_characters) {
        (_, cut) if cut > 0 => {
            Some(format!("the answer was too long: its last {cut} characters were not sent"))
        }
        (true, _) => {
            Some("the model was cut off at max_tokens; raise it for longer answers".to_owned())
        }
        _ => None,
    }
}

/// PostgreSQL never takes what came of this call: the reply fails. Whether that could be written.
pub fn refused(claim: ReplyClaim, error: &str, terms: Terms<'_>) -> Result<bool> {
    let (locked, held) = lock(&[claim.reply_id])?;
    for Locked { reply, .. } in locked.values() {
        let still_claimed = reply.state == OpenState::Generating && reply.attempt == claim.attempt;
        let assistant = tenants::assistant(reply.chat.tenant_id, terms.defaults)?;
        if let Some(assistant) = assistant.filter(|_| still_claimed) {
            endings::give_up(reply, &assistant, error, terms.now)?;
        }
    }
    Ok(held.is_empty())
}
