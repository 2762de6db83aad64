//! Who may post for the instances of a batch: what their tenants accept, with every source read. It
//! judges nobody.

use std::collections::HashMap;

use crate::credentials::Accepted;
use crate::secrets;
use crate::store::tenants::Credentials;

/// What a tenant accepts.
pub struct Poster {
    pub tenant_id: i32,
    pub accepted: Accepted,
    /// Why some of it could not be read: whoever presents it may be right.
    pub troubles: Vec<String>,
}

/// Every source is read anew: in a transaction, since the vault is a table.
pub fn of(kept: Credentials) -> HashMap<String, Poster> {
    let posters = kept.into_iter().map(|(instance, (tenant_id, kept))| {
        let (accepted, troubles) = secrets::accepted(kept);
        (instance, Poster { tenant_id, accepted, troubles })
    });
    posters.collect()
}
