//! What pg_cron schedules, and the chores of a database that grows.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use super::arguments::given;
use super::or_raise;
use crate::error::{Error, Result};
use crate::intake::pauses;
use crate::intake::upkeep::{self, Portion};
use crate::settings;
use crate::store::acting_role::as_worker;
use crate::store::{messages_archive, processed_events, resumptions, transaction};
use crate::worker;

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn auto_resume_paused_sessions(hours_inactive: Option<f64>) -> i64 {
    or_raise(as_worker(|_| resume(hours_inactive)))
}

fn resume(hours_inactive: Option<f64>) -> Result<i64> {
    let hours = given(hours_inactive, "hours_inactive")?;
    if !(hours.is_finite() && hours >= 0.0) {
        return Err(Error::InvalidArgument {
            argument: "hours_inactive",
            reason: "it is negative or no number".to_owned(),
            hint: "Give a number of hours, 0 or more.",
        });
    }
    let (defaults, now) = (settings::behaviour(), transaction::now());
    let silent = resumptions::resume_silent(hours, defaults.answer_after_pause)?;
    let asked = pauses::all_ended(&silent, &defaults, now)?;
    let over = upkeep::end_timed_pauses(&defaults, None, &[], now)?;
    wake_for(asked + over.asked);
    Ok(silent.count + over.resumed)
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn cleanup_old_processed_events(days_to_keep: Option<i32>) -> i64 {
    or_raise(as_worker(|_| processed_events::delete_older_than(days(days_to_keep)?)))
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn archive_messages(days_to_keep: Option<i32>) -> i64 {
    or_raise(days(days_to_keep).and_then(|days| {
        // With the caller's own rights: the archive is the user's, and whaply_worker makes no tables.
        messages_archive::prepare()?;
        as_worker(|_| messages_archive::move_older_than(days))
    }))
}

fn days(days_to_keep: Option<i32>) -> Result<i32> {
    let days = given(days_to_keep, "days_to_keep")?;
    if days < 0 {
        return Err(Error::InvalidArgument {
            argument: "days_to_keep",
            reason: "it is negative".to_owned(),
            hint: "Give a number of days, 0 or more.",
        });
    }
    Ok(days)
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn auto_resume() -> JsonB {
    let (defaults, now) = (settings::behaviour(), transaction::now());
    let keep_days = settings::keep_processed_events();
    let done = or_raise(as_worker(|_| {
        upkeep::begin(&defaults, now)?;
        upkeep::portion(Portion::OF_A_CALL, &defaults, &[], keep_days, 0, now)
    }));
    wake_for(done.asked);
    JsonB(json!({ "resumed": done.resumed, "deleted_events": done.deleted_events }))
}

/// Questions of these chats, asked while they were paused, are answered now.
fn wake_for(asked: usize) {
    if asked > 0 {
        worker::wake_at_commit();
    }
}
