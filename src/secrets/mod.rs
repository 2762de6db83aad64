//! From what a tenant's row or a setting says to the secret itself, at the moment of use: in a
//! background process only, which reads the sources that `whaply.secret_sources` lists. Nothing is
//! remembered, so that a source that changes is followed at once; no error holds a secret.

mod file;
mod source;

use crate::credentials::{Accepted, Kept};
use crate::exchange::Secret;
use crate::settings;
use crate::store::vault;

use source::{Allowed, Listed, Malformed};
pub use source::{Destination, Source};

const NO_SOURCE: &str =
    "begins like the name of a source, but names none: use env:NAME, file:/path or vault:NAME";

/// The secret that a tenant's column holds or names. The error is the tenant's configuration's, and
/// says what to change.
pub fn resolve(
    column: &str,
    value: &Secret,
    destination: Destination<'_>,
) -> Result<Secret, String> {
    let source = match Source::of(value.expose()) {
        None => return Ok(value.clone()),
        Some(Err(Malformed)) => return Err(format!("{column} {NO_SOURCE}")),
        Some(Ok(source)) => source,
    };
    let listed = Listed::read(&settings::secret_sources());
    let allowed = listed.allow(&source, destination);
    let allowed = allowed.map_err(|why| format!("{column} names {source}, {why}"))?;
    let found = read(&allowed).map_err(|why| format!("{column} names {source}: {why}"))?;
    found.ok_or_else(|| format!("{column} names {source}, which is not set or empty"))
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
    match Source::of(source) {
        Some(Ok(source)) => read(&Allowed { source: &source, directory: None })
            .map_err(|why| format!("the setting names {source}: {why}")),
        // The value may be a key that somebody entered by mistake: it is not repeated.
        Some(Err(Malformed)) | None => {
            Err("the setting must be env:NAME, file:/path or vault:NAME, never the secret itself"
                .to_owned())
        }
    }
}

fn read(allowed: &Allowed<'_>) -> Result<Option<Secret>, String> {
    let text = match allowed.source {
        Source::Env(name) => match std::env::var_os(name).map(std::ffi::OsString::into_string) {
            Some(Ok(value)) => Some(value),
            Some(Err(_)) => return Err("it is not in UTF-8".to_owned()),
            None => None,
        },
        Source::File(path) => Some(file::read(path, allowed.directory.as_deref())?),
        Source::Vault(name) => vault::decrypted(name)?,
    };
    text.map_or(Ok(None), |text| usable(&text))
}

/// Without the line break that editors put at the end.
fn usable(text: &str) -> Result<Option<Secret>, String> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if text.contains(char::is_control) {
        return Err(
            "it holds a line break or another control character: it is no secret".to_owned()
        );
    }
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_from_the_environment_and_a_variable_that_is_not_set_is_none() {
        let path = of_setting("env:PATH").unwrap().expect("every machine has a PATH");
        assert_eq!(path.expose(), std::env::var("PATH").unwrap().trim());
        assert_eq!(of_setting("env:WHAPLY_SURELY_NOT_SET"), Ok(None));
    }

    #[test]
    fn a_setting_is_read_from_a_file_without_its_line_break() {
        let file = std::env::temp_dir().join(format!("whaply-key-{}", std::process::id()));
        let named = format!("file:{}", file.display());
        for (content, key) in
            [("sk-test-1234\n", Some("sk-test-1234")), ("sk\r\n\n", Some("sk")), (" \n", None)]
        {
            std::fs::write(&file, content).unwrap();
            assert_eq!(of_setting(&named), Ok(key.map(Secret::new)), "{content:?}");
        }
        for content in ["sk-one\nsk-two", "sk-one\0"] {
            std::fs::write(&file, content).unwrap();
            let error = of_setting(&named).unwrap_err();
            assert!(error.contains("control character") && !error.contains("sk-one"), "{error}");
            assert!(error.contains(&named), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(of_setting(&named).is_err());
    }

    #[test]
    fn a_key_entered_in_place_of_its_source_is_refused_and_not_repeated() {
        for entered in ["sk-ant-secret", "env:sk-ant-secret", "file:sk-ant-secret"] {
            let error = of_setting(entered).unwrap_err();
            assert!(!error.contains("sk-ant-secret") && error.contains("env:NAME"), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_none_of_the_sources_is_itself() {
        let plain = Secret::new("429683C4C977415CAAFCCE10F7D57E11");
        assert_eq!(resolve("evo_api_key", &plain, Destination::Nowhere), Ok(plain));
        let malformed = Secret::new("env:sk-ant-secret");
        let error = resolve("llm_api_key", &malformed, Destination::Nowhere).unwrap_err();
        assert!(error.starts_with("llm_api_key") && !error.contains("sk-ant-secret"), "{error}");
    }
}
