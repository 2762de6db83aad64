//! Reading a source: the environment and files here, Vault by whoever calls. It touches no table and
//! no setting, and none of its errors holds a secret.

use url::Url;

use super::file;
use super::source::{Allowed, Destination, Listed, Malformed, Source};
use crate::exchange::Secret;

const NO_SOURCE: &str =
    "begins like the name of a source, but names none: use env:NAME, file:/path or vault:NAME";

/// What Vault has under a name; None: nothing.
type Decrypted = Result<Option<String>, String>;

/// The secret that a tenant's column holds or names; of a source only what is listed is read.
pub fn of_column(
    column: &str,
    value: &Secret,
    destination: Destination<'_>,
    listed: impl Fn() -> String,
    vault: impl Fn(&str) -> Decrypted,
) -> Result<Secret, String> {
    let source = match Source::of(value.expose()) {
        None => return Ok(value.clone()),
        Some(Err(Malformed)) => return Err(format!("{column} {NO_SOURCE}")),
        Some(Ok(source)) => source,
    };
    let listed = Listed::read(&listed());
    let allowed = listed.allow(&source, destination);
    let allowed = allowed.map_err(|why| format!("{column} names {source}, {why}"))?;
    let found = read(&allowed, vault).map_err(|why| format!("{column} names {source}: {why}"))?;
    found.ok_or_else(|| format!("{column} names {source}, which is not set or empty"))
}

/// [`of_setting`] for a server that a tenant's row names: what is listed for other servers only stays from it.
pub fn of_setting_to(
    source: &str,
    server: &Url,
    listed: impl Fn() -> String,
    vault: impl Fn(&str) -> Decrypted,
) -> Result<Option<Secret>, String> {
    match Source::of(source) {
        Some(Ok(named)) if Listed::read(&listed()).keeps_from(&named, server) => Err(format!(
            "the setting names {named}, which whaply.secret_sources lists for other servers only"
        )),
        _ => of_setting(source, vault),
    }
}

/// The secret that a setting names; None: nothing is there.
pub fn of_setting(
    source: &str,
    vault: impl Fn(&str) -> Decrypted,
) -> Result<Option<Secret>, String> {
    match Source::of(source) {
        Some(Ok(source)) => read(&Allowed { source: &source, directory: None }, vault)
            .map_err(|why| format!("the setting names {source}: {why}")),
        // The value may be a key that somebody entered by mistake: it is not repeated.
        Some(Err(Malformed)) | None => {
            Err("the setting must be env:NAME, file:/path or vault:NAME, never the secret itself"
                .to_owned())
        }
    }
}

fn read(
    allowed: &Allowed<'_>,
    vault: impl Fn(&str) -> Decrypted,
) -> Result<Option<Secret>, String> {
    let text = match allowed.source {
        Source::Env(name) => match std::env::var_os(name).map(std::ffi::OsString::into_string) {
            Some(Ok(value)) => Some(value),
            Some(Err(_)) => return Err("it is not in UTF-8".to_owned()),
            None => None,
        },
        Source::File(path) => Some(file::read(path, allowed.directory.as_deref())?),
        Source::Vault(name) => vault(name)?,
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

    fn empty_vault(_: &str) -> Decrypted {
        Ok(None)
    }

    fn setting(source: &str) -> Result<Option<Secret>, String> {
        of_setting(source, empty_vault)
    }

    fn column(value: &str, listed: &str) -> Result<Secret, String> {
        let vault = |name: &str| Ok(Some(format!("decrypted {name}")));
        let value = Secret::new(value);
        of_column("llm_api_key", &value, Destination::Nowhere, || listed.to_owned(), vault)
    }

    #[test]
    fn a_setting_is_read_from_the_environment_and_a_variable_that_is_not_set_is_none() {
        let path = setting("env:PATH").unwrap().expect("every machine has a PATH");
        assert_eq!(path.expose(), std::env::var("PATH").unwrap().trim());
        assert_eq!(setting("env:WHAPLY_SURELY_NOT_SET"), Ok(None));
    }

    #[test]
    fn a_setting_is_read_from_a_file_without_its_line_break() {
        let file = std::env::temp_dir().join(format!("whaply-key-{}", std::process::id()));
        let named = format!("file:{}", file.display());
        for (content, key) in
            [("sk-test-1234\n", Some("sk-test-1234")), ("sk\r\n\n", Some("sk")), (" \n", None)]
        {
            std::fs::write(&file, content).unwrap();
            assert_eq!(setting(&named), Ok(key.map(Secret::new)), "{content:?}");
        }
        for content in ["sk-one\nsk-two", "sk-one\0"] {
            std::fs::write(&file, content).unwrap();
            let error = setting(&named).unwrap_err();
            assert!(error.contains("control character") && !error.contains("sk-one"), "{error}");
            assert!(error.contains(&named), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(setting(&named).is_err());
    }

    #[test]
    fn a_key_entered_in_place_of_its_source_is_refused_and_not_repeated() {
        for entered in ["sk-ant-secret", "env:sk-ant-secret", "file:sk-ant-secret"] {
            let error = setting(entered).unwrap_err();
            assert!(!error.contains("sk-ant-secret") && error.contains("env:NAME"), "{error}");
        }
    }

    #[test]
    fn what_a_setting_names_goes_to_a_tenants_server_unless_it_is_listed_for_others_only() {
        let to = |server: &str, listed: &str| {
            let server = Url::parse(server).unwrap();
            of_setting_to("env:PATH", &server, || listed.to_owned(), empty_vault)
        };
        for listed in
            ["", "env:PATH", "env:HOME for a.example", "env:PATH for b.example, env:PATH for *"]
        {
            assert!(to("https://theirs.example", listed).is_ok(), "{listed}");
        }
        let bound = "env:PATH, env:PATH for ours.example, env:PATH for local:8080";
        assert!(to("https://ours.example/path", bound).is_ok());
        assert!(to("http://local:8080", bound).is_ok());
        let error = to("https://theirs.example", bound).unwrap_err();
        assert!(error.contains("env:PATH") && error.contains("for other servers only"), "{error}");
    }

    #[test]
    fn a_column_is_the_secret_itself_or_what_a_listed_source_holds() {
        assert_eq!(column("429683C4", ""), Ok(Secret::new("429683C4")));
        assert_eq!(column("vault:shop", "vault:shop"), Ok(Secret::new("decrypted shop")));
        let error = column("vault:other", "vault:shop").unwrap_err();
        assert!(error.contains("vault:other") && error.contains("does not list"), "{error}");
        let error = column("env:WHAPLY_SURELY_NOT_SET", "env:WHAPLY_SURELY_NOT_SET").unwrap_err();
        assert!(error.contains("not set or empty"), "{error}");
        let error = column("env:sk-ant-secret", "").unwrap_err();
        assert!(error.starts_with("llm_api_key") && !error.contains("sk-ant-secret"), "{error}");
    }
}
