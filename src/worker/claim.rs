//! waiting -> generating: replies that are due become prompts, all of a round by a few statements. Checks
//! at the claim what may have changed while they waited: pause, mode, age, the line, and how much was
//! answered since. A reply that ends here instead ends alone.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::cooldowns::Account;
use super::jobs::{Job, ReplyClaim};
use super::modes::{Silence, silence_of};
use super::places::{Server, Side};
use super::terms::Terms;
use super::{endings, keys, unverified};
use crate::conversation::loop_guard::{Answers, Limits, Reached};
use crate::conversation::{Action, Mode, OnUnverified, PauseReason, prompt};
use crate::error::Result;
use crate::intake::consequences;
use crate::llm::{Model, Prompt, Speaker};
use crate::server_log;
use crate::store::many_replies::{self, Locked, Stamped};
use crate::store::messages::HistoryRow;
use crate::store::replies::{self, End, OpenState, Reply};
use crate::store::tenants::{self, Assistant};
use crate::store::{answers, sessions};
use crate::webhook;

/// A lease outlasts the call it covers by this factor: it tells until when somebody may be at work.
const LEASE_FACTOR: i32 = 2;

/// A reply that may be answered, as far as is known.
struct Candidate<'a> {
    reply: &'a Reply,
    contact_name: Option<&'a str>,
    assistant: &'a Assistant,
    /// Or what the tenant must change first.
    model: &'a std::result::Result<Model, String>,
}

/// Claims these replies, as far as nobody holds them, and names the calls to make after the commit.
pub fn begin(ids: &[i64], terms: Terms<'_>) -> Result<Vec<Job>> {
    let locked = many_replies::lock(ids)?;
    let tenant_ids = locked.iter().map(|one| one.reply.chat.tenant_id);
    let assistants = tenants::assistants(tenant_ids, terms.defaults)?;
    let models: HashMap<i32, _> =
        assistants.iter().map(|(id, assistant)| (*id, keys::model_of(assistant))).collect();
    let mut candidates = Vec::with_capacity(locked.len());
    for one in locked.iter().filter(|one| one.reply.state == OpenState::Waiting) {
        let tenant_id = one.reply.chat.tenant_id;
        let (Some(assistant), Some(model)) = (assistants.get(&tenant_id), models.get(&tenant_id))
        else {
            continue;
        };
        if may_be_answered(one, assistant, terms)? {
            let contact_name = one.session.contact_name.as_deref();
            candidates.push(Candidate { reply: &one.reply, contact_name, assistant, model });
        }
    }
    candidates.retain(|one| one.takes_its_place(terms));
    let asked = with_questions(candidates, terms)?;
    let mut calls = Vec::with_capacity(asked.len());
    for one in within_limits(asked, terms)? {
        match one.model {
            Ok(model) => calls.push((one, model)),
            Err(error) => endings::give_up(one.reply, one.assistant, error, terms.now)?,
        }
    }
    claim(&calls, terms)
}

/// Whether there still is an answer to give; if not, the reply ends, but for one whose line is closed.
fn may_be_answered(one: &Locked, assistant: &Assistant, terms: Terms<'_>) -> Result<bool> {
    let reply = &one.reply;
    if one.session.is_paused {
        let why = "the chat was paused when the answer was due";
        consequences::stop_speaking(&reply.chat, why, true)?;
        return Ok(false);
    }
    if let Some(Silence::Off(why)) = silence_of(assistant, &reply.chat)? {
        endings::switched_off(reply, why)?;
        return Ok(false);
    }
    if is_expired(reply, assistant, terms) {
        endings::give_up(reply, assistant, &terms.why_expired("answered"), terms.now)?;
        return Ok(false);
    }
    Ok(assistant.line_is_open)
}

fn is_expired(reply: &Reply, assistant: &Assistant, terms: Terms<'_>) -> bool {
    reply.created_at + assistant.reply_expiry < terms.now
}

/// PostgreSQL refuses the claim, and what follows from giving it up, too: once its time is over the reply
/// fails with as little as can be written. Whether it did.
pub fn end_refused(id: i64, terms: Terms<'_>) -> Result<bool> {
    let Some(Locked { reply, .. }) = many_replies::lock(&[id])?.pop() else { return Ok(false) };
    let assistant = tenants::assistant(reply.chat.tenant_id, terms.defaults)?;
    let is_over = reply.state == OpenState::Waiting
        && assistant.is_some_and(|assistant| is_expired(&reply, &assistant, terms));
    if is_over {
        replies::finish(id, End::Failed, Some(&terms.why_expired("answered")))?;
    }
    Ok(is_over)
}

impl Candidate<'_> {
    /// Whether its provider wants no rest and its server has a place for it, which is taken. One that
    /// calls nobody needs none.
    fn takes_its_place(&self, terms: Terms<'_>) -> bool {
        let Ok(model) = self.model else { return true };
        let tenant_id = self.assistant.tenant_id;
        !terms.cooldowns.holds_back(Account::of(model), tenant_id)
            && terms.places.take(Side::Model, Server::of(&model.base_url), tenant_id)
    }

    /// It makes no call after all.
    fn leaves_its_place(&self, terms: Terms<'_>) {
        if let Ok(model) = self.model {
            terms.places.give_back(Server::of(&model.base_url));
        }
    }

    /// Whether a machine on the other side would hear of it.
    fn will_be_heard(&self) -> bool {
        let assistant = self.assistant;
        self.model.is_ok()
            || (assistant.mode != Mode::Draft
                && assistant.on_failure.sends_fallback()
                && assistant.fallback_text.is_some())
    }
}

/// Marks what these replies are to answer. Those of which nothing is left end.
fn with_questions<'a>(
    candidates: Vec<Candidate<'a>>,
    terms: Terms<'_>,
) -> Result<Vec<Candidate<'a>>> {
    if candidates.is_empty() {
        return Ok(candidates);
    }
    let replies: Vec<&Reply> = candidates.iter().map(|one| one.reply).collect();
    let stamped = many_replies::claim_questions(&replies)?;
    let mut asked = Vec::with_capacity(candidates.len());
    for one in candidates {
        let stamped = stamped.get(&one.reply.id).copied().unwrap_or_default();
        match what_is_missing(&one, stamped)? {
            None => asked.push(one),
            Some(why) => {
                one.leaves_its_place(terms);
                consequences::close_questions(one.reply, Action::Superseded)?;
                replies::finish(one.reply.id, End::Superseded, Some(why))?;
            }
        }
    }
    Ok(asked)
}

/// Why there is nothing to answer. None: there is.
fn what_is_missing(one: &Candidate<'_>, stamped: Stamped) -> Result<Option<&'static str>> {
    let may_be_anybodys =
        stamped.of_the_cloud_api && one.assistant.on_unverified == OnUnverified::Hold;
    let left_aside = if stamped.standing > 0 && may_be_anybodys {
        unverified::leave_aside(one.reply)?
    } else {
        0
    };
    Ok(if stamped.standing > left_aside {
        None
    } else if left_aside > 0 {
        Some(
            "nobody can tell which customer wrote (Cloud API, several at once); a person must answer",
        )
    } else {
        Some("the customer deleted what was to be answered")
    })
}

fn limits_of(assistant: &Assistant) -> Limits {
    Limits {
        per_chat: assistant.answers_per_chat,
        per_tenant: assistant.answers_per_tenant,
        window: assistant.answer_window,
    }
}

/// Pauses the chats that had their share of answers, or whose tenant had; what is left, each counted
/// with those before it in this round.
fn within_limits<'a>(
    candidates: Vec<Candidate<'a>>,
    terms: Terms<'_>,
) -> Result<Vec<Candidate<'a>>> {
    let limited: Vec<(&Reply, chrono::Duration)> = candidates
        .iter()
        .filter(|one| !limits_of(one.assistant).are_none())
        .map(|one| (one.reply, one.assistant.answer_window))
        .collect();
    if limited.is_empty() {
        return Ok(candidates);
    }
    let given = answers::given(&limited)?;
    let mut in_this_round: HashMap<i32, i64> = HashMap::new();
    let mut allowed = Vec::with_capacity(candidates.len());
    for one in candidates {
        let given = given.get(&one.reply.id).copied().unwrap_or_default();
        let more = in_this_round.entry(one.assistant.tenant_id).or_default();
        let given = Answers { of_tenant: given.of_tenant + *more, ..given };
        match limits_of(one.assistant).reached_by(given) {
            None => {
                *more += i64::from(one.will_be_heard());
                allowed.push(one);
            }
            Some(reached) => {
                one.leaves_its_place(terms);
                end_the_loop(one.reply, one.assistant, reached, terms.now)?;
            }
        }
    }
    Ok(allowed)
}

fn end_the_loop(
    reply: &Reply,
    assistant: &Assistant,
    reached: Reached,
    now: DateTime<Utc>,
) -> Result<()> {
    let why = limits_of(assistant).explain(reached);
    let until = now + assistant.auto_resume_after;
    sessions::pause(&reply.chat, PauseReason::LoopGuard.as_str(), Some(until))?;
    let what = format!("chat {}: the limit is reached: {why}", reply.chat.chat_id);
    server_log::tenant_changed(assistant.tenant_id, &assistant.instance_name, &what);
    consequences::stop_speaking(&reply.chat, &why, false)?;
    Ok(())
}

/// The calls for these replies, whose leases begin.
fn claim(calls: &[(Candidate<'_>, &Model)], terms: Terms<'_>) -> Result<Vec<Job>> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = calls.iter().map(|(one, _)| one.reply.id).collect();
    let call = chrono::Duration::from_std(terms.limits.llm_timeout);
    let lease = call.unwrap_or(chrono::Duration::minutes(5)) * LEASE_FACTOR;
    many_replies::claim(&ids, terms.now + lease)?;
    let wanted: Vec<(&Reply, i32)> =
        calls.iter().map(|(one, _)| (one.reply, one.assistant.history_limit)).collect();
    let mut histories = many_replies::histories(&wanted)?;
    let jobs = calls.iter().map(|(one, model)| {
        let history = histories.remove(&one.reply.id).unwrap_or_default();
        Job::Generate {
            claim: ReplyClaim {
                reply_id: one.reply.id,
                attempt: one.reply.attempt + 1,
                tenant_id: one.reply.chat.tenant_id,
            },
            account: Account::of(model),
            model: (*model).clone(),
            prompt: prompt_of(one, history, terms.now),
            timeout: terms.limits.llm_timeout,
        }
    });
    Ok(jobs.collect())
}

/// What the model is asked, with a history whose oldest message comes first.
fn prompt_of(one: &Candidate<'_>, history: Vec<HistoryRow>, now: DateTime<Utc>) -> Prompt {
    let assistant = one.assistant;
    let history: Vec<prompt::Line> = history.into_iter().map(line).collect();
    let limit = usize::try_from(assistant.history_limit).unwrap_or(1);
    let system = assistant.system_prompt.as_deref();
    prompt::build(system, one.contact_name, now, &assistant.timezone, &history, limit)
}

/// The words of the business are one speaker to the model, whoever wrote them.
fn line(row: HistoryRow) -> prompt::Line {
    let payload = row.raw.as_deref().and_then(webhook::stored);
    let note = payload.and_then(|payload| webhook::content_of(&payload["data"]).note);
    prompt::Line {
        speaker: if row.from_me { Speaker::Business } else { Speaker::Customer },
        text: row.text,
        note,
        deleted: row.is_deleted,
    }
}
