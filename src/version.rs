//! A library and tables of different versions, as after the upgrade of the package: which of them are
//! served, and what to do about it. And how the library was built. Pure.

/// The release before this one. Its tables are served too: between the new package and ALTER EXTENSION
/// UPDATE, nobody's message is refused and nobody waits for an answer.
pub const PREVIOUS: &str = "0.3.0";

/// Stands in the library's file, where `make bench` looks for it: figures of a build for tests are no
/// figures. A symbol, or the linker would leave it out.
#[unsafe(no_mangle)]
pub static WHAPLY_BUILD: &str =
    if cfg!(debug_assertions) { "whaply-build:debug;" } else { "whaply-build:release;" };

/// Whether a library works on the tables of this version: its own, and the release before.
pub fn is_served(installed: &str, library: &str) -> bool {
    installed == library || installed == PREVIOUS
}

/// For the log: `installed` is the version of the extension in the database, and not the library's.
pub fn mismatch(installed: &str, library: &str) -> String {
    let what_to_do = if is_newer(installed, library) {
        "restart the server, so that it loads the library of that version"
    } else {
        "run ALTER EXTENSION whaply UPDATE in this database"
    };
    let until_then = if is_served(installed, library) {
        "it is served as before, without what is new"
    } else {
        "nothing is answered until they are the same"
    };
    format!(
        "whaply: the library is version {library}, the extension in this database {installed}; {until_then}: {what_to_do}"
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
    fn the_release_before_is_the_one_that_the_newest_script_begins_with() {
        let library = env!("CARGO_PKG_VERSION");
        let script =
            format!("{}/sql/whaply--{PREVIOUS}--{library}.sql", env!("CARGO_MANIFEST_DIR"));
        assert!(std::path::Path::new(&script).exists(), "{script}");
    }

    #[test]
    fn tables_of_the_release_before_are_served_and_older_or_newer_ones_are_not() {
        let library = env!("CARGO_PKG_VERSION");
        assert!(is_served(library, library) && is_served(PREVIOUS, library));
        assert!(!is_served("0.1.0", library) && !is_served("999.0.0", library));
        assert!(
            mismatch(PREVIOUS, library)
                .contains("served as before, without what is new: run ALTER EXTENSION")
        );
        assert!(mismatch("0.1.0", library).contains("nothing is answered"));
    }

    #[test]
    fn older_tables_want_an_update_and_an_older_library_a_restart() {
        assert!(mismatch("0.1.0", "0.2.0").contains("ALTER EXTENSION whaply UPDATE"));
        assert!(mismatch("0.2.0", "0.1.0").contains("restart the server"));
    }
}
