//! Supabase Vault, where it is installed: its view is read, never written. Somebody else's view: what
//! it raises must not take the caller's transaction along.

use super::sql;
use crate::error::Error;
use crate::process::guarded;

/// The secret of this name; None: there is none. Errors say what an administrator must do.
pub fn decrypted(name: &str) -> Result<Option<String>, String> {
    let found = guarded::attempt(|| {
        sql::query_one(
            "SELECT decrypted_secret::text FROM vault.decrypted_secrets WHERE name = $1",
            &[name.into()],
            |row| row.find(1),
        )
    });
    found.map(Option::flatten).map_err(|error| explain(&error))
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
