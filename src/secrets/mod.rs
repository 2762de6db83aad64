//! From what a tenant's row or a setting says to the secret itself, at the moment of use: in a
//! background process only, which reads the sources that `whaply.secret_sources` lists. Nothing is
//! remembered here, so that a source that changes is followed; no error holds a secret.

mod file;
mod reading;
mod source;

use std::cell::Cell;

use url::Url;

use crate::credentials::{Accepted, Kept};
use crate::exchange::Secret;
use crate::settings;
use crate::store::vault;

pub use source::{Destination, Source};

/// The secret that a tenant's column holds or names. The error is the tenant's configuration's, and
/// says what to change.
pub fn resolve(
    column: &str,
    value: &Secret,
    destination: Destination<'_>,
) -> Result<Secret, String> {
    let listed = settings::secret_sources;
    reading::of_column(column, value, destination, listed, vault::decrypted)
}

/// The same of a column that may be NULL.
pub fn resolve_any(
    column: &str,
    value: Option<&Secret>,
    destination: Destination<'_>,
) -> Result<Option<Secret>, String> {
    value.map(|value| resolve(column, value, destination)).transpose()
}

/// What may post for a tenant.
pub struct Read {
    pub accepted: Accepted,
    /// Why some of it could not be read.
    pub troubles: Vec<String>,
    /// Some of it is not in the tenant's row.
    pub names_a_source: bool,
}

/// What a tenant's row says of who may post.
pub fn accepted(kept: Kept) -> Read {
    let names_a_source = Cell::new(false);
    let (accepted, troubles) = kept.resolve(|column, value| {
        names_a_source.set(names_a_source.get() || Source::of(value.expose()).is_some());
        resolve(column, value, Destination::Nowhere)
    });
    Read { accepted, troubles, names_a_source: names_a_source.get() }
}

/// The secret that a setting names. Who writes the settings may read every source of the server: they
/// need not be listed. None: a variable that is not set is no key.
pub fn of_setting(source: &str) -> Result<Option<Secret>, String> {
    reading::of_setting(source, vault::decrypted)
}

/// The same for a server that a tenant's row names, which gets nothing that is listed for others only.
pub fn of_setting_to(source: &str, server: &Url) -> Result<Option<Secret>, String> {
    reading::of_setting_to(source, server, settings::secret_sources, vault::decrypted)
}
