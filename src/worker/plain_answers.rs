//! generating -> sending for all answers of which nothing unusual is known, by a few statements in all.
//! Whatever is unusual about an answer is left to `record`, one by one.

use std::collections::{HashMap, HashSet};

use super::jobs::{Done, ReplyClaim};
use super::record;
use super::terms::Terms;
use crate::conversation::Mode;
use crate::error::Result;
use crate::llm::{Answer, Provider};
use crate::store::many_deliveries::{self, Part};
use crate::store::many_replies::{self, Locked};
use crate::store::replies::OpenState;
use crate::store::tenants;

/// Writes the plain ones among these results; their places in `arrived`.
pub fn record(arrived: &[Done], terms: Terms<'_>) -> Result<HashSet<usize>> {
    let answers: Vec<(usize, ReplyClaim, Provider, &Answer)> = arrived
        .iter()
        .enumerate()
        .filter_map(|(place, done)| match done {
            Done::Generated { claim, provider, result: Ok(answer), .. } => {
                Some((place, *claim, *provider, answer))
            }
            _ => None,
        })
        .collect();
    if answers.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = answers.iter().map(|(_, claim, ..)| claim.reply_id).collect();
    let locked = many_replies::lock(&ids)?;
    let tenant_ids = locked.iter().map(|one| one.reply.chat.tenant_id);
    let assistants = tenants::assistants(tenant_ids, terms.defaults)?;
    let locked: HashMap<i64, &Locked> = locked.iter().map(|one| (one.reply.id, one)).collect();
    let (mut written, mut texts, mut parts) = (HashSet::new(), Vec::new(), Vec::new());
    for (place, claim, provider, answer) in answers {
        let Some(one) = locked.get(&claim.reply_id) else { continue };
        let mode = assistants.get(&one.reply.chat.tenant_id).map(|assistant| assistant.mode);
        let is_plain = one.reply.state == OpenState::Generating
            && one.reply.attempt == claim.attempt
            && !one.is_paused
            && mode == Some(Mode::On)
            && !record::is_stale(&one.reply);
        let written_out = record::written_out(answer);
        if !is_plain || written_out.parts.is_empty() {
            continue;
        }
        written.insert(place);
        parts.extend((1..).zip(written_out.parts).map(|(part, text)| Part {
            reply_id: one.reply.id,
            tenant_id: one.reply.chat.tenant_id,
            chat_id: one.reply.chat.chat_id.clone(),
            part,
            text,
        }));
        texts.push(many_replies::Answer {
            reply_id: one.reply.id,
            text: written_out.text,
            provider: provider.as_str(),
            model: answer.model.clone(),
            input_tokens: answer.input_tokens,
            output_tokens: answer.output_tokens,
            note: written_out.note,
        });
    }
    if !texts.is_empty() {
        many_replies::answered(&texts)?;
        many_deliveries::add_parts(&parts)?;
    }
    Ok(written)
}
