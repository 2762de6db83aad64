//! What Evolution tells of a number that is linked, or is to be: the state of its line, and what to
//! scan. It never asks for anything; the worker does.

use chrono::{DateTime, Duration, Utc};

use super::Outcome;
use crate::conversation::Action;
use crate::error::Result;
use crate::settings;
use crate::store::tenants::Tenant;
use crate::store::{connect_requests, tenants};
use crate::webhook::{LineState, QrUpdate};

/// Why a request fails whose codes have run out.
const NOBODY_SCANNED: &str = "nobody scanned the QR code until Evolution stopped making new ones (QRCODE_LIMIT): \
                              call connect_instance again";

/// `connection.update` and its like.
pub fn moved(tenant: &Tenant, state: LineState, now: DateTime<Utc>) -> Result<Outcome> {
    let moved = tenants::set_connection_state(tenant.id, state.as_str())?;
    match state {
        LineState::Open => connect_requests::line_opened(tenant.id)?,
        LineState::Refused => connect_requests::nobody_scanned(tenant.id, NOBODY_SCANNED)?,
        LineState::Connecting | LineState::Close => {}
    }
    Ok(Outcome { wakes_worker: moved.then_some(now), ..Outcome::new(tenant, Action::Line) })
}

/// `qrcode.updated`.
pub fn qr(tenant: &Tenant, update: &QrUpdate) -> Result<Outcome> {
    match update {
        QrUpdate::Code(code) => connect_requests::qr_came(tenant.id, code, qr_is_fresh_for())?,
        QrUpdate::LimitReached => connect_requests::nobody_scanned(tenant.id, NOBODY_SCANNED)?,
    }
    Ok(Outcome::new(tenant, Action::Qr))
}

/// How long a code is believed before Evolution is asked for a newer one: WhatsApp makes one every 20
/// to 60 seconds, and the webhook brings it.
pub fn qr_is_fresh_for() -> Duration {
    let interval = settings::worker_limits().line_check_interval;
    Duration::from_std(interval * 2).unwrap_or(Duration::minutes(1))
}
