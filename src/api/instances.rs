//! A tenant's number linked from SQL: asked for here, done by the worker, watched by `instance_qr` and
//! `instance_state`. It calls nobody.

use pgrx::prelude::*;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::arguments::given;
use super::named::tenant_of;
use super::or_raise;
use crate::error::{Error, Result};
use crate::exchange::Secret;
use crate::store::access::{Caller, Level};
use crate::store::acting_role::as_worker;
use crate::store::connect_requests;
use crate::webhook::LineState;
use crate::worker;

/// What Evolution's column holds.
const LONGEST_URL: usize = 500;

const OPEN_STATES: [&str; 3] = ["waiting", "working", "scan_qr"];

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn connect_instance(instance_name: Option<&str>, webhook_url: Option<&str>) -> i64 {
    or_raise(as_worker(|caller| connect(caller, instance_name, webhook_url)))
}

fn connect(caller: &Caller, instance_name: Option<&str>, webhook_url: Option<&str>) -> Result<i64> {
    let instance = given(instance_name, "instance_name")?;
    let webhook_url = given(webhook_url, "webhook_url")?.trim();
    let reason = match worker::parse_url(webhook_url, "it") {
        Ok(_) if webhook_url.len() > LONGEST_URL => {
            format!("it is longer than {LONGEST_URL} characters")
        }
        Ok(_) => String::new(),
        Err(reason) => reason,
    };
    if !reason.is_empty() {
        return Err(Error::InvalidArgument {
            argument: "webhook_url",
            reason,
            hint: "Give the URL at which Evolution reaches this database, as in https://db.example.com/webhook.",
        });
    }
    tenant_of(caller, Level::Admin, Some(instance))?;
    let (tenant_id, is_at_home) = connect_requests::lock_tenant(instance)?
        .ok_or_else(|| Error::UnknownInstance { instance: instance.to_owned() })?;
    // Evolution posts there with the tenant's secret, which no level may read.
    if !caller.is_free() && !connect_requests::was_asked_for(tenant_id, webhook_url)? {
        return Err(Error::NotAllowed {
            message: "this webhook_url is new for the instance: only a superuser may name it"
                .to_owned(),
            hint: "Give the URL of an earlier request, or have a superuser call connect_instance once.",
        });
    }
    if !is_at_home {
        return Err(Error::NotPossible {
            message: "this database is a copy: its tenants are served elsewhere".to_owned(),
            hint: "SELECT whaply.adopt_tenants(); in the one database that shall speak.",
        });
    }
    let id = connect_requests::open(tenant_id, webhook_url)?;
    worker::wake_at_commit();
    Ok(id)
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn instance_qr(instance_name: Option<&str>) -> Option<String> {
    or_raise(as_worker(|caller| qr_of(caller, instance_name)))
}

fn qr_of(caller: &Caller, instance_name: Option<&str>) -> Result<Option<String>> {
    let code = connect_requests::qr_code(tenant_of(caller, Level::Admin, instance_name)?)?;
    Ok(code.as_ref().map(Secret::expose).and_then(draw_qr))
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn instance_state(instance_name: Option<&str>) -> Option<String> {
    or_raise(as_worker(|caller| state_of(caller, instance_name)))
}

/// A request that is under way says more than the line, and the line more than one that has ended.
fn state_of(caller: &Caller, instance_name: Option<&str>) -> Result<Option<String>> {
    let (request, line) =
        connect_requests::states(tenant_of(caller, Level::Operator, instance_name)?)?;
    if let Some(open) = request.as_deref().filter(|state| OPEN_STATES.contains(state)) {
        return Ok(Some(open.to_owned()));
    }
    if line.as_deref() == Some(LineState::Open.as_str()) {
        return Ok(Some("connected".to_owned()));
    }
    Ok(request.filter(|state| state == "failed").or(line))
}

/// As terminals show light on dark, the light of the code is what is drawn, its quiet zone too.
#[pg_extern(immutable, parallel_safe)]
fn draw_qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let mut canvas = code.render::<Dense1x2>();
    Some(canvas.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build())
}
