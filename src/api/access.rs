//! What policies and views ask: which tenants the caller sees, and what of their keys may be shown.

use pgrx::prelude::*;

use super::arguments::given;
use super::or_raise;
use crate::store::access::Level;
use crate::store::acting_role::as_worker_to_look;
use crate::store::keys;

#[pg_extern(stable, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
fn seen_tenants(level: default!(Option<&str>, "'operator'")) -> SetOfIterator<'static, i32> {
    let seen = as_worker_to_look(|caller| caller.seen(Level::from_text(given(level, "level")?)?));
    SetOfIterator::new(or_raise(seen))
}

#[pg_extern(stable, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)] // The columns of the SQL function.
fn masked_keys() -> TableIterator<
    'static,
    (
        name!(tenant_id, i32),
        name!(evo_server_url, Option<String>),
        name!(evo_api_key, Option<String>),
        name!(llm_base_url, Option<String>),
        name!(llm_api_key, Option<String>),
        name!(webhook_secret, Option<String>),
        name!(webhook_secret_before, Option<String>),
        name!(webhook_jwt_key, Option<String>),
    ),
> {
    let masked = or_raise(as_worker_to_look(|caller| keys::masked(&caller.seen(Level::Operator)?)));
    TableIterator::new(masked.into_iter().map(|masked| {
        (
            masked.tenant_id,
            masked.evo_server_url,
            masked.evo_api_key,
            masked.llm_base_url,
            masked.llm_api_key,
            masked.webhook_secret,
            masked.webhook_secret_before,
            masked.webhook_jwt_key,
        )
    }))
}

#[pg_extern(stable, parallel_restricted)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)] // The columns of the SQL function.
fn shown_codes() -> TableIterator<
    'static,
    (name!(request_id, i64), name!(qr_code, Option<String>), name!(pairing_code, Option<String>)),
> {
    let codes = or_raise(as_worker_to_look(|caller| keys::codes(&caller.seen(Level::Admin)?)));
    let rows = codes.into_iter().map(|codes| (codes.request_id, codes.qr_code, codes.pairing_code));
    TableIterator::new(rows)
}
