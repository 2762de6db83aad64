//! Who may post for the instances of a batch: what their tenants accept, with every source read. It
//! judges nobody.

use std::collections::HashMap;

use crate::credentials::Accepted;
use crate::error::Result;
use crate::secrets;
use crate::store::tenants;

/// What a tenant accepts.
pub struct Poster {
    pub tenant_id: i32,
    pub accepted: Accepted,
    /// Why some of it could not be read: whoever presents it may be right.
    pub troubles: Vec<String>,
}

/// Of these instances, but for those that no tenant has. In a transaction.
pub fn of_instances(instances: &[String]) -> Result<HashMap<String, Poster>> {
    let kept = tenants::accepted_credentials(instances)?;
    let posters = kept.into_iter().map(|(instance, (tenant_id, kept))| {
        let (accepted, troubles) = secrets::accepted(kept);
        (instance, Poster { tenant_id, accepted, troubles })
    });
    Ok(posters.collect())
}
