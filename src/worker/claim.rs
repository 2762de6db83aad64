//! waiting -> generating: replies that are due become prompts. Checks at the claim what may have
//! changed while they waited: pause, mode, age.

use chrono::{DateTime, Utc};

use super::jobs::{Job, ReplyClaim};
use super::terms::Terms;
use super::{keys, record};
use crate::conversation::{Action, Mode, prompt};
use crate::error::Result;
use crate::intake::consequences;
use crate::llm::{Prompt, Speaker};
use crate::store::messages::HistoryRow;
use crate::store::replies::{self, End, Reply};
use crate::store::tenants::{self, Assistant};
use crate::store::{messages, sessions};
use crate::webhook;

/// A lease outlasts the call it covers by this factor: it only matters when a worker is gone.
const LEASE_FACTOR: i32 = 2;

/// Claims a reply, unless somebody holds it or its chat.
pub fn begin(id: i64, terms: Terms<'_>) -> Result<Option<Job>> {
    match replies::lock_waiting(id)? {
        Some(reply) => claim(&reply, terms),
        None => Ok(None),
    }
}

fn claim(reply: &Reply, terms: Terms<'_>) -> Result<Option<Job>> {
    let Terms { defaults, limits, now } = terms;
    let Some(session) = sessions::try_lock(&reply.chat)? else { return Ok(None) };
    let Some(assistant) = tenants::assistant(reply.chat.tenant_id, defaults)? else {
        return Ok(None);
    };
    if session.is_paused {
        consequences::stop_speaking(
            &reply.chat,
            "the chat was paused when the answer was due",
            true,
        )?;
        return Ok(None);
    }
    if assistant.mode == Mode::Off {
        record::switched_off(reply)?;
        return Ok(None);
    }
    if reply.created_at + assistant.reply_expiry < now {
        record::give_up(reply, &assistant, "it could not be answered within reply_expiry", now)?;
        return Ok(None);
    }
    let model = match keys::model_of(&assistant) {
        Ok(model) => model,
        Err(error) => {
            record::give_up(reply, &assistant, &error, now)?;
            return Ok(None);
        }
    };
    if messages::claim_questions(&reply.chat, reply.id, reply.first_sent_at)? == 0 {
        consequences::close_questions(reply, Action::Superseded)?;
        replies::finish(
            reply.id,
            End::Superseded,
            Some("the customer deleted what was to be answered"),
        )?;
        return Ok(None);
    }
    let lease =
        chrono::Duration::from_std(limits.llm_timeout).unwrap_or(chrono::Duration::minutes(5));
    replies::claim(reply.id, now + lease * LEASE_FACTOR)?;
    let prompt = prompt_of(reply, &assistant, session.contact_name.as_deref(), now)?;
    let claim = ReplyClaim { reply_id: reply.id, attempt: reply.attempt + 1 };
    Ok(Some(Job::Generate { claim, model, prompt, timeout: limits.llm_timeout }))
}

fn prompt_of(
    reply: &Reply,
    assistant: &Assistant,
    contact_name: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Prompt> {
    let history = messages::history(&reply.chat, reply.id, assistant.history_limit)?;
    let history: Vec<prompt::Line> = history.into_iter().map(line).collect();
    let limit = usize::try_from(assistant.history_limit).unwrap_or(1);
    let system = assistant.system_prompt.as_deref();
    Ok(prompt::build(system, contact_name, now, &assistant.timezone, &history, limit))
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
