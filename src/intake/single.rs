//! One webhook by itself: whatever it is. It decides nothing, and holds no SQL.

use chrono::{DateTime, Utc};

use super::{Outcome, change, chat, history, line, message};
use crate::conversation::Action;
use crate::error::{Error, Result};
use crate::settings::{self, Behaviour};
use crate::store::tenants::{self, Tenant};
use crate::webhook::{Body, Payload};

/// Takes one webhook, exactly once.
///
/// Errors: no tenant has its instance (P0002); then nothing is stored.
pub fn take(payload: &Payload, now: DateTime<Utc>) -> Result<Outcome> {
    let tenant = &tenant_of(payload, &settings::behaviour())?;
    match &payload.body {
        Body::Message(message) => message::take(tenant, payload, message, now),
        Body::Receipt(receipt) => change::receipt(tenant, receipt),
        Body::Change(change) => change::take(tenant, change, now),
        Body::Line(state) => line::moved(tenant, *state, now),
        Body::Qr(update) => line::qr(tenant, update),
        Body::Aliases(pairs) => {
            chat::learn_pairs(tenant.id, pairs)?;
            Ok(Outcome::new(tenant, Action::Aliases))
        }
        Body::History(said) => {
            history::take(tenant, payload, said, now)?;
            Ok(Outcome::new(tenant, Action::History))
        }
        Body::Other => Ok(Outcome::new(tenant, Action::IgnoredEvent)),
    }
}

fn tenant_of(payload: &Payload, defaults: &Behaviour) -> Result<Tenant> {
    let instance = &payload.envelope.instance;
    tenants::by_instance(instance, defaults)?
        .ok_or_else(|| Error::UnknownInstance { instance: instance.clone() })
}
