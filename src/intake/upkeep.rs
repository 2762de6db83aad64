//! The chores that run by the clock, the worker's own or pg_cron's. Nobody's message waits for them.

use chrono::{DateTime, Utc};

use super::{greetings, pauses};
use crate::error::Result;
use crate::settings::Behaviour;
use crate::store::{processed_events, refused_webhooks, resumptions};

/// How much is done in one transaction. Meanwhile the chats it resumes wait, and the worker's messages.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    pub sessions: i64,
    pub events: i64,
}

impl Portion {
    /// Some ten milliseconds; the worker takes one after the other.
    pub const OF_THE_WORKER: Self = Self { sessions: 500, events: 2_000 };
    /// About a second: `auto_resume()` is called once a minute, and more than this in a minute is
    /// done by the worker's own clock only.
    pub const OF_A_CALL: Self = Self { sessions: 5_000, events: 100_000 };
}

/// View `health` shows a day of them; the rest is for whoever asks since when.
const DAYS_OF_REFUSED_WEBHOOKS: i32 = 30;

/// What a portion of the chores came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    pub resumed: i64,
    pub deleted_events: i64,
    /// Chats where what was asked during the pause is answered now.
    pub asked: usize,
    /// There is more to do.
    pub is_behind: bool,
    /// Where the deletion of events goes on.
    pub events_up_to: i64,
}

/// What a round of chores begins with: undoes what automatic greetings have caused, and drops old sums.
pub fn begin(defaults: &Behaviour, now: DateTime<Utc>) -> Result<()> {
    greetings::apply_known(defaults, now)?;
    refused_webhooks::delete_older_than(DAYS_OF_REFUSED_WEBHOOKS)?;
    Ok(())
}

/// Resumes silent chats by each tenant's own setting, ends pauses whose time is over, and deletes
/// events older than `keep_days` (0: none) behind an id; a portion of each. Pauses of these sessions do not
/// end.
pub fn portion(
    portion: Portion,
    defaults: &Behaviour,
    but_for: &[i64],
    keep_days: i32,
    events_after: i64,
    now: DateTime<Utc>,
) -> Result<Done> {
    let answers = defaults.answer_after_pause;
    let (seconds, most) = (default_silence(defaults), portion.sessions);
    let silent = resumptions::resume_silent_by_tenant(seconds, answers, most, but_for)?;
    let asked = pauses::all_ended(&silent, defaults, now)?;
    let over = end_timed_pauses(defaults, Some(portion.sessions), but_for, now)?;
    let mut done = Done {
        resumed: silent.count + over.resumed,
        asked: asked + over.asked,
        is_behind: silent.count.max(over.resumed) >= portion.sessions,
        ..Done::default()
    };
    if keep_days > 0 {
        let deleted = processed_events::delete_oldest(keep_days, events_after, portion.events)?;
        done.deleted_events = deleted.count;
        done.is_behind |= deleted.is_behind;
        done.events_up_to = deleted.up_to;
    }
    Ok(done)
}

/// Seconds of silence after which a chat comes back whose tenant does not say.
pub fn default_silence(defaults: &Behaviour) -> f64 {
    defaults.auto_resume_after.num_milliseconds() as f64 / 1e3
}

/// Ends the pauses whose time is over, so many at most (None: all), but for those of these sessions.
pub fn end_timed_pauses(
    defaults: &Behaviour,
    at_most: Option<i64>,
    but_for: &[i64],
    now: DateTime<Utc>,
) -> Result<Done> {
    let over = resumptions::resume_expired(defaults.answer_after_pause, at_most, but_for)?;
    let asked = pauses::all_ended(&over, defaults, now)?;
    Ok(Done { resumed: over.count, asked, ..Done::default() })
}

/// Ends the pause of one session, if it is over, by its end or by silence.
pub fn end_pause(defaults: &Behaviour, session_id: i64, now: DateTime<Utc>) -> Result<()> {
    let (seconds, answers) = (default_silence(defaults), defaults.answer_after_pause);
    let over = resumptions::resume_one(seconds, answers, session_id)?;
    pauses::all_ended(&over, defaults, now)?;
    Ok(())
}

/// Ends a portion of the pauses whose time is over, where there are any; when the next one is. Those of
/// these sessions are left as they are.
pub fn end_due_pauses(
    defaults: &Behaviour,
    but_for: &[i64],
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let next = resumptions::next_pause_end(but_for)?;
    if next.is_none_or(|end| end > now) {
        return Ok(next);
    }
    end_timed_pauses(defaults, Some(Portion::OF_THE_WORKER.sessions), but_for, now)?;
    resumptions::next_pause_end(but_for)
}
