//! From what a tenant's row or a setting says to the secret itself, at the moment of use: in a
//! background process only, which reads the sources that `whaply.secret_sources` lists. Nothing is
//! remembered, so that a source that changes is followed at once; no error holds a secret.

mod file;
mod reading;
mod source;

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

/// What may post for a tenant, and why some of it could not be read.
pub fn accepted(kept: Kept) -> (Accepted, Vec<String>) {
    kept.resolve(|column, value| resolve(column, value, Destination::Nowhere))
}

/// The secret that a setting names. Who writes the settings may read every source of the server: they
/// need not be listed. None: a variable that is not set is no key.
pub fn of_setting(source: &str) -> Result<Option<Secret>, String> {
    reading::of_setting(source, vault::decrypted)
}
