//! Supabase Vault, where it is installed: its view is read, never written, and only where a superuser put it.
//! What it raises must not take the caller's transaction along.

use super::sql;
use crate::error::{Error, Result};
use crate::process::guarded;

const OF_SOMEBODY_ELSE: &str =
    "the schema vault or its view does not belong to a superuser, as Supabase's own do";

/// The secret of this name; None: there is none. Errors say what an administrator must do.
pub fn decrypted(name: &str) -> std::result::Result<Option<String>, String> {
    let found = guarded::attempt(|| {
        if is_of_somebody_else()? {
            return Ok(Err(OF_SOMEBODY_ELSE.to_owned()));
        }
        let secret = sql::query_one(
            "SELECT decrypted_secret::text FROM vault.decrypted_secrets WHERE name = $1",
            &[name.into()],
            |row| row.find(1),
        )?;
        Ok(Ok(secret.flatten()))
    });
    found.unwrap_or_else(|error| Err(explain(&error)))
}

/// A function in a view runs as whoever reads it: in one that anybody may put there, as whaply_worker, which
/// reads every key. The owner of a schema may put another view in the place of this one.
fn is_of_somebody_else() -> Result<bool> {
    let is = sql::query_one(
        "SELECT NOT (owner.rolsuper AND maker.rolsuper) FROM pg_catalog.pg_class v \
           JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace \
           JOIN pg_catalog.pg_roles owner ON owner.oid = n.nspowner \
           JOIN pg_catalog.pg_roles maker ON maker.oid = v.relowner \
          WHERE n.nspname = 'vault' AND v.relname = 'decrypted_secrets'",
        &[],
        |row| row.get::<bool>(1),
    )?;
    Ok(is.unwrap_or(false))
}

fn explain(error: &Error) -> String {
    match error.sqlstate() {
        "42P01" | "3F000" => {
            "this database has no vault.decrypted_secrets: Supabase Vault is not installed"
                .to_owned()
        }
        "42501" => format!(
            "Vault may not be read ({error}): GRANT USAGE ON SCHEMA vault TO whaply_worker; GRANT SELECT ON \
             vault.decrypted_secrets TO whaply_worker; and EXECUTE on the functions that the view calls"
        ),
        sqlstate => format!("Vault could not be read (SQLSTATE {sqlstate})"),
    }
}
