//! What the tables know of events that arrive, by one statement for all of them: whose they are, and
//! whether they came before. It takes no lock and no transaction id.

use std::collections::HashMap;

use super::processed_events::{Seen, read_seen, select_seen};
use super::sql::{self, per_row};
use super::tenants::{Tenant, read_tenant, tenant_columns};
use crate::error::Result;
use crate::settings::Behaviour;

/// An event that arrives.
#[derive(Clone, Copy)]
pub struct Arriving<'a> {
    pub instance: &'a str,
    pub event: &'a str,
    /// Of an event that acts once; others were never seen.
    pub message_id: Option<&'a str>,
}

/// What is known of an event.
pub struct Known {
    /// Among the tenants that [`look_up`] returns. None: no tenant has its instance.
    pub tenant: Option<usize>,
    pub seen: Option<Seen>,
}

/// The tenants of events, each once, and what is known of each event, at its place.
pub fn look_up(
    arriving: &[Arriving<'_>],
    defaults: &Behaviour,
) -> Result<(Vec<Tenant>, Vec<Known>)> {
    let mut tenants: Vec<Tenant> = Vec::new();
    let mut places: HashMap<i32, usize> = HashMap::new();
    let statement = per_row!(
        concat!("SELECT ", tenant_columns!(), ", seen.action, seen.chat, seen.reply FROM "),
        ["$1" "$2" "$3"],
        concat!(
            " AS n (instance, event, message) \
               LEFT JOIN whaply.tenants t ON t.instance_name = n.instance \
               LEFT JOIN LATERAL (",
            select_seen!("t.id", "n.message", "n.event"),
            ") AS seen ON true"
        )
    );
    let known = sql::query_by_index(
        statement.of(arriving),
        &[
            sql::column(arriving, |one| one.instance),
            sql::column(arriving, |one| one.event),
            sql::column(arriving, |one| one.message_id),
        ],
        |row| {
            let Some(id) = row.find::<i32>(1)? else {
                return Ok(Known { tenant: None, seen: None });
            };
            let tenant = match places.get(&id) {
                Some(place) => *place,
                None => {
                    tenants.push(read_tenant(row, defaults)?);
                    places.insert(id, tenants.len() - 1);
                    tenants.len() - 1
                }
            };
            Ok(Known { tenant: Some(tenant), seen: read_seen(row, 17)? })
        },
    )?;
    Ok((tenants, known))
}
