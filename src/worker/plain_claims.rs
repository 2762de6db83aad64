//! waiting -> generating for all replies of which nothing unusual is known, by a few statements in all.
//! Whatever is unusual about a reply is left to `claim`, one by one.

use std::collections::HashMap;

use super::claim;
use super::cooldowns::Account;
use super::jobs::Job;
use super::keys;
use super::places::{Server, Side};
use super::terms::Terms;
use crate::conversation::loop_guard::Answers;
use crate::conversation::{Mode, OnUnverified};
use crate::error::Result;
use crate::llm::Model;
use crate::store::many_replies::{self, Locked, Stamped};
use crate::store::replies::{OpenState, Reply};
use crate::store::tenants::{self, Assistant};

/// A reply that is claimed if its questions still stand.
struct Plain<'a> {
    locked: &'a Locked,
    assistant: &'a Assistant,
    model: &'a Model,
}

/// Claims these replies, as far as nobody holds them, and names the calls to make after the commit.
pub fn begin(ids: &[i64], terms: Terms<'_>) -> Result<Vec<Job>> {
    let locked = many_replies::lock(ids)?;
    let tenant_ids = locked.iter().map(|one| one.reply.chat.tenant_id);
    let assistants = tenants::assistants(tenant_ids, terms.defaults)?;
    let models: HashMap<i32, Model> = assistants
        .iter()
        .filter_map(|(id, assistant)| Some((*id, keys::model_of(assistant).ok()?)))
        .collect();
    let (plain, mut unusual): (Vec<&Locked>, Vec<&Locked>) = locked
        .iter()
        .filter(|one| one.reply.state == OpenState::Waiting)
        .partition(|one| is_plain(one, &assistants, &models, terms));
    let plain: Vec<Plain<'_>> = plain
        .into_iter()
        .filter_map(|locked| {
            let tenant_id = locked.reply.chat.tenant_id;
            Some(Plain {
                locked,
                assistant: assistants.get(&tenant_id)?,
                model: models.get(&tenant_id)?,
            })
        })
        .collect();
    let (plain, near_a_limit) = within_limits(plain)?;
    unusual.extend(near_a_limit.iter().map(|one| one.locked));
    let plain: Vec<Plain<'_>> = plain.into_iter().filter(|one| has_place(one, terms)).collect();
    let mut jobs = claim_all(plain, &mut unusual, terms)?;
    for one in unusual {
        jobs.extend(claim::begin(one.reply.id, terms)?);
    }
    Ok(jobs)
}

fn is_plain(
    locked: &Locked,
    assistants: &HashMap<i32, Assistant>,
    models: &HashMap<i32, Model>,
    terms: Terms<'_>,
) -> bool {
    let tenant_id = locked.reply.chat.tenant_id;
    let Some(assistant) = assistants.get(&tenant_id) else { return false };
    !locked.is_paused
        && matches!(assistant.mode, Mode::On | Mode::Draft)
        && assistant.line_is_open
        && locked.reply.created_at + assistant.reply_expiry >= terms.now
        && models.contains_key(&tenant_id)
}

/// Parts those that no limit on answers can forbid from those that must be counted one by one.
fn within_limits<'a>(plain: Vec<Plain<'a>>) -> Result<(Vec<Plain<'a>>, Vec<Plain<'a>>)> {
    let limited: Vec<(&Reply, chrono::Duration)> = plain
        .iter()
        .filter(|one| !claim::limits_of(one.assistant).are_none())
        .map(|one| (&one.locked.reply, one.assistant.answer_window))
        .collect();
    if limited.is_empty() {
        return Ok((plain, Vec::new()));
    }
    let answers = many_replies::answers(&limited)?;
    let mut claimed: HashMap<i32, i64> = HashMap::new();
    Ok(plain.into_iter().partition(|one| {
        let before = answers.get(&one.locked.reply.id).copied().unwrap_or_default();
        let in_this_round = claimed.entry(one.assistant.tenant_id).or_default();
        let of_tenant = before.of_tenant + *in_this_round;
        *in_this_round += 1;
        let answers = Answers { of_tenant, ..before };
        claim::limits_of(one.assistant).reached_by(answers).is_none()
    }))
}

/// Whether its provider wants no rest and its server has a place for it, which is taken.
fn has_place(plain: &Plain<'_>, terms: Terms<'_>) -> bool {
    let tenant_id = plain.assistant.tenant_id;
    !terms.cooldowns.holds_back(Account::of(plain.model), tenant_id)
        && terms.places.take(Side::Model, Server::of(&plain.model.base_url), tenant_id)
}

fn claim_all<'a>(
    plain: Vec<Plain<'a>>,
    unusual: &mut Vec<&'a Locked>,
    terms: Terms<'_>,
) -> Result<Vec<Job>> {
    if plain.is_empty() {
        return Ok(Vec::new());
    }
    let replies: Vec<&Reply> = plain.iter().map(|one| &one.locked.reply).collect();
    let stamped = many_replies::claim_questions(&replies)?;
    let (asked, others): (Vec<Plain<'a>>, Vec<Plain<'a>>) = plain.into_iter().partition(|one| {
        let stamped = stamped.get(&one.locked.reply.id).copied().unwrap_or_default();
        stands(stamped, one.assistant)
    });
    unusual.extend(others.iter().map(|one| one.locked));
    let replies: Vec<&Reply> = asked.iter().map(|one| &one.locked.reply).collect();
    many_replies::claim(&replies, claim::lease_until(terms))?;
    let wanted: Vec<(&Reply, i32)> =
        asked.iter().map(|one| (&one.locked.reply, one.assistant.history_limit)).collect();
    let mut histories = many_replies::histories(&wanted)?;
    let jobs = asked.into_iter().map(|one| {
        let history = histories.remove(&one.locked.reply.id).unwrap_or_default();
        let name = one.locked.contact_name.as_deref();
        let prompt = claim::prompt_of(one.assistant, name, history, terms.now);
        claim::job(&one.locked.reply, one.model.clone(), prompt, terms)
    });
    Ok(jobs.collect())
}

/// Whether there is something to answer, and nobody must ask whose it is.
fn stands(stamped: Stamped, assistant: &Assistant) -> bool {
    let may_be_anybodys = stamped.of_the_cloud_api && assistant.on_unverified == OnUnverified::Hold;
    stamped.standing > 0 && !may_be_anybodys
}
