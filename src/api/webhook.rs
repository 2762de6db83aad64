//! The inside of `webhook(json)`, which PostgREST calls with the raw body of Evolution's POST: the
//! tenant's secret, then ingest. And `webhook_settings`: what to enter in Evolution.

use std::ffi::CStr;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};

use super::arguments::{JsonText, given};
use super::named::tenant_of;
use super::{events, or_raise};
use crate::credentials::{self, Accepted, Presented, RefusedBecause};
use crate::error::{Error, Result};
use crate::evolution::{SECRET_HEADER, Webhook};
use crate::refusals::{self, Reason};
use crate::secrets::Source;
use crate::settings;
use crate::store::access::{Caller, Level};
use crate::store::acting_role::as_worker;
use crate::store::{extension, tenants, transaction};
use crate::webhook;

const SECRET: &str = "webhook_secret";

// Called by webhook(json) only, which raises what is refused.
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn receive(payload: Option<JsonText>) -> JsonB {
    match as_worker(|caller| take(caller, payload)) {
        Err(error) if error.sqlstate().starts_with("PT") => JsonB(json!({
            "refused": { "sqlstate": error.sqlstate(), "message": error.to_string(), "hint": error.hint() }
        })),
        taken => or_raise(taken),
    }
}

fn take(caller: &Caller, payload: Option<JsonText>) -> Result<JsonB> {
    if transaction::is_standby() {
        return Err(Error::Standby);
    }
    // Before anything that an old table could refuse: what it refuses, Evolution drops for ever.
    extension::require_served()?;
    let payload = webhook::read(&given(payload, "payload")?.0)
        .inspect_err(|_| refusals::count(None, Reason::Invalid))?;
    require_secret(&payload.envelope.instance)?;
    events::require_sight(caller, &payload.envelope.instance)?;
    events::take(&payload)
}

/// Refusing rolls back: it is counted where no transaction reaches.
fn require_secret(instance: &str) -> Result<()> {
    let Some((tenant_id, accepted, named)) = accepted_of(instance)? else {
        refusals::count(None, Reason::UnknownInstance);
        return Err(Error::WebhookForUnknownInstance { instance: instance.to_owned() });
    };
    let presented = Presented::from_headers(sent_secret().as_deref(), None);
    credentials::check(&presented, &accepted, settings::require_secret(), transaction::now())
        .map_err(|because| {
            // Tokens are the listener's; a secret that is only named may be the right one.
            if because != RefusedBecause::NoSecret && named.iter().any(|name| name == SECRET) {
                return Error::SecretIsElsewhere;
            }
            refusals::count(Some(tenant_id), because.into());
            Error::WrongSecret
        })
}

/// What the tenant accepts, as far as its row holds it, and what it only names: a session reads no
/// source, since whoever may open one is not the server.
fn accepted_of(instance: &str) -> Result<Option<(i32, Accepted, Vec<String>)>> {
    let kept = tenants::accepted_credentials(&[instance.to_owned()])?.remove(instance);
    Ok(kept.map(|(tenant_id, kept)| {
        let (accepted, named) = kept.resolve(|column, value| match Source::of(value.expose()) {
            None => Ok(value.clone()),
            Some(_) => Err(column.to_owned()),
        });
        (tenant_id, accepted, named)
    }))
}

/// PostgREST puts the request's headers, names in lower case, into the setting `request.headers`.
fn sent_secret() -> Option<String> {
    // SAFETY: the name is NUL-terminated; the returned text lives until the setting changes and is
    // copied at once.
    let headers = unsafe {
        let value = pg_sys::GetConfigOption(c"request.headers".as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }?;
    let headers: Value = serde_json::from_str(&headers).ok()?;
    headers.get(SECRET_HEADER)?.as_str().map(str::to_owned)
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn webhook_settings(instance_name: Option<&str>) -> JsonB {
    or_raise(as_worker(|caller| settings_of(caller, instance_name)))
}

/// The body of Evolution's `POST /webhook/set/{instance}`, but for the URL, which only the
/// operator knows.
fn settings_of(caller: &Caller, instance_name: Option<&str>) -> Result<JsonB> {
    let instance = given(instance_name, "instance_name")?;
    tenant_of(caller, Level::Admin, Some(instance))?;
    let (_, accepted, named) = accepted_of(instance)?
        .ok_or_else(|| Error::UnknownInstance { instance: instance.to_owned() })?;
    if let Some(column) = named.first() {
        return Err(Error::NotPossible {
            message: format!("{column} names its source, which only the worker reads"),
            hint: "SELECT whaply.connect_instance(instance_name, webhook_url) lets the worker set the webhook.",
        });
    }
    let url = "https://YOUR-POSTGREST/rpc/webhook";
    let webhook = Webhook::new(url, accepted.secret.as_ref(), accepted.jwt_key.as_ref());
    Ok(JsonB(json!({ "webhook": webhook.to_json() })))
}
