//! A library and tables of different versions, as after the upgrade of the package: what to do about
//! it. Until it is done the worker waits. And how the library was built. Pure.

/// Stands in the library's file, where `make bench` looks for it: figures of a build for tests are no
/// figures. A symbol, or the linker would leave it out.
#[unsafe(no_mangle)]
pub static WHAPLY_BUILD: &str =
    if cfg!(debug_assertions) { "whaply-build:debug;" } else { "whaply-build:release;" };

/// For the log: `installed` is the version of the extension in the database.
pub fn mismatch(installed: &str, library: &str) -> String {
    let what_to_do = if is_newer(installed, library) {
        "restart the server, so that it loads the library of that version"
    } else {
        "run ALTER EXTENSION whaply UPDATE in this database"
    };
    format!(
        "whaply: the library is version {library}, the extension in this database {installed}; nothing is answered \
         until they are the same: {what_to_do}"
    )
}

/// Whether `one` is a later version than `other`, number by number.
pub fn is_newer(one: &str, other: &str) -> bool {
    numbers(one) > numbers(other)
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        assert!(is_newer("0.10.0", "0.9.1"));
        assert!(is_newer("1.0", "0.99.99"));
        assert!(!is_newer("0.2.0", "0.2.0"));
        assert!(!is_newer("0.1.0", "0.2.0"));
    }

    #[test]
    fn older_tables_want_an_update_and_an_older_library_a_restart() {
        assert!(mismatch("0.1.0", "0.2.0").contains("ALTER EXTENSION whaply UPDATE"));
        assert!(mismatch("0.2.0", "0.1.0").contains("restart the server"));
    }
}
