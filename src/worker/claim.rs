//! waiting -> generating: replies that are due become prompts. Checks at the claim what may have
//! changed while they waited: pause, mode, age, the line, and how much was answered since.

use chrono::{DateTime, Utc};

use super::cooldowns::Account;
use super::jobs::{Job, ReplyClaim};
use super::modes::{Silence, silence_of};
use super::places::{Server, Side};
use super::terms::Terms;
use super::{keys, record, unverified};
use crate::conversation::{Action, OnUnverified, PauseReason, loop_guard, prompt};
use crate::error::Result;
use crate::intake::consequences;
use crate::llm::{Model, Prompt, Speaker};
use crate::store::messages::HistoryRow;
use crate::store::replies::{self, End, Reply};
use crate::store::sessions::{self, Session};
use crate::store::tenants::{self, Assistant};
use crate::store::{answers, messages};
use crate::webhook;

/// A lease outlasts the call it covers by this factor: it tells until when somebody may be at work.
const LEASE_FACTOR: i32 = 2;

/// Claims a reply, unless somebody holds it or its chat.
pub fn begin(id: i64, terms: Terms<'_>) -> Result<Option<Job>> {
    match replies::lock_waiting(id)? {
        Some(reply) => claim(&reply, terms),
        None => Ok(None),
    }
}

fn claim(reply: &Reply, terms: Terms<'_>) -> Result<Option<Job>> {
    let Terms { defaults, now, .. } = terms;
    let Some(session) = sessions::try_lock(&reply.chat)? else { return Ok(None) };
    let Some(assistant) = tenants::assistant(reply.chat.tenant_id, defaults)? else {
        return Ok(None);
    };
    if !may_be_answered(reply, &session, &assistant, now)? {
        return Ok(None);
    }
    let model = match keys::model_of(&assistant) {
        Ok(model) => model,
        Err(error) => {
            if guard_against_loops(reply, &assistant, now)? {
                record::give_up(reply, &assistant, &error, now)?;
            }
            return Ok(None);
        }
    };
    if terms.cooldowns.holds_back(Account::of(&model), assistant.tenant_id)
        || !claim_questions(reply, &assistant)?
        || !guard_against_loops(reply, &assistant, now)?
        || !terms.places.take(Side::Model, Server::of(&model.base_url), assistant.tenant_id)
    {
        return Ok(None);
    }
    replies::claim(reply.id, lease_until(terms))?;
    let history = messages::history(&reply.chat, reply.id, assistant.history_limit)?;
    let prompt = prompt_of(&assistant, session.contact_name.as_deref(), history, now);
    Ok(Some(job(reply, model, prompt, terms)))
}

/// Until when a call that begins now may be at work.
pub fn lease_until(terms: Terms<'_>) -> DateTime<Utc> {
    let call = chrono::Duration::from_std(terms.limits.llm_timeout);
    terms.now + call.unwrap_or(chrono::Duration::minutes(5)) * LEASE_FACTOR
}

/// The call for a reply as it was before its claim.
pub fn job(reply: &Reply, model: Model, prompt: Prompt, terms: Terms<'_>) -> Job {
    let claim = ReplyClaim { reply_id: reply.id, attempt: reply.attempt + 1 };
    let account = Account::of(&model);
    Job::Generate { claim, account, model, prompt, timeout: terms.limits.llm_timeout }
}

/// Whether there still is an answer to give; if not, the reply ends, but for one whose line is closed.
fn may_be_answered(
    reply: &Reply,
    session: &Session,
    assistant: &Assistant,
    now: DateTime<Utc>,
) -> Result<bool> {
    if session.is_paused {
        let why = "the chat was paused when the answer was due";
        consequences::stop_speaking(&reply.chat, why, true)?;
        return Ok(false);
    }
    if let Some(Silence::Off(why)) = silence_of(assistant, &reply.chat)? {
        record::switched_off(reply, why)?;
        return Ok(false);
    }
    if reply.created_at + assistant.reply_expiry < now {
        record::give_up(reply, assistant, "it could not be answered within reply_expiry", now)?;
        return Ok(false);
    }
    Ok(assistant.line_is_open)
}

/// Marks what this reply is to answer; whether anything is left of it.
fn claim_questions(reply: &Reply, assistant: &Assistant) -> Result<bool> {
    let standing = messages::claim_questions(&reply.chat, reply.id, reply.first_sent_at)?;
    let left_aside = match assistant.on_unverified {
        OnUnverified::Hold if standing > 0 => unverified::leave_aside(reply)?,
        _ => 0,
    };
    if standing > left_aside {
        return Ok(true);
    }
    let why = if left_aside > 0 {
        "nobody can tell which customer wrote (Cloud API, several at once); a person must answer"
    } else {
        "the customer deleted what was to be answered"
    };
    consequences::close_questions(reply, Action::Superseded)?;
    replies::finish(reply.id, End::Superseded, Some(why))?;
    Ok(false)
}

pub fn limits_of(assistant: &Assistant) -> loop_guard::Limits {
    loop_guard::Limits {
        per_chat: assistant.answers_per_chat,
        per_tenant: assistant.answers_per_tenant,
        window: assistant.answer_window,
    }
}

/// Pauses a chat that had its share of answers; whether it may have another one.
fn guard_against_loops(reply: &Reply, assistant: &Assistant, now: DateTime<Utc>) -> Result<bool> {
    let limits = limits_of(assistant);
    if limits.are_none() {
        return Ok(true);
    }
    let answers = answers::since(reply, now - assistant.answer_window)?;
    let Some(reached) = limits.reached_by(answers) else { return Ok(true) };
    let why = limits.explain(reached);
    let until = now + assistant.auto_resume_after;
    sessions::pause(&reply.chat, PauseReason::LoopGuard.as_str(), Some(until))?;
    consequences::stop_speaking(&reply.chat, &why, false)?;
    pgrx::log!(
        "whaply: chat {} of {} is paused: {why}",
        reply.chat.chat_id,
        assistant.instance_name
    );
    Ok(false)
}

/// What the model is asked, with a history whose oldest message comes first.
pub fn prompt_of(
    assistant: &Assistant,
    contact_name: Option<&str>,
    history: Vec<HistoryRow>,
    now: DateTime<Utc>,
) -> Prompt {
    let history: Vec<prompt::Line> = history.into_iter().map(line).collect();
    let limit = usize::try_from(assistant.history_limit).unwrap_or(1);
    let system = assistant.system_prompt.as_deref();
    prompt::build(system, contact_name, now, &assistant.timezone, &history, limit)
}

/// The words of the business are one speaker to the model, whoever wrote them.
fn line(row: HistoryRow) -> prompt::Line {
    let data =
        row.raw.as_deref().and_then(|raw| serde_json::from_str::<serde_json::Value>(raw).ok());
    let note = data.and_then(|payload| webhook::content_of(&payload["data"]).note);
    prompt::Line {
        speaker: if row.from_me { Speaker::Business } else { Speaker::Customer },
        text: row.text,
        note,
        deleted: row.is_deleted,
    }
}
