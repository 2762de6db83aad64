//! What pg_cron schedules, and the chores of a database that grows.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use super::arguments::given;
use super::or_raise;
use crate::error::{Error, Result};
use crate::settings;
use crate::store::{maintenance, messages_archive, processed_events, sessions};

#[pg_extern]
fn auto_resume_paused_sessions(hours_inactive: Option<f64>) -> i64 {
    or_raise(resume(hours_inactive))
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
    Ok(sessions::resume_silent(hours)? + sessions::resume_expired()?)
}

#[pg_extern]
fn cleanup_old_processed_events(days_to_keep: Option<i32>) -> i64 {
    or_raise(days(days_to_keep).and_then(processed_events::delete_older_than))
}

#[pg_extern]
fn archive_messages(days_to_keep: Option<i32>) -> i64 {
    or_raise(days(days_to_keep).and_then(messages_archive::move_older_than))
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
fn auto_resume() -> JsonB {
    let done =
        or_raise(maintenance::run(&settings::behaviour(), settings::keep_processed_events()));
    JsonB(json!({ "resumed": done.resumed, "deleted_events": done.deleted_events }))
}
