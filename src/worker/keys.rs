//! From a tenant's settings to a model: which server, which model, which key. A key that a setting
//! names by its source (`env:NAME`, `file:/path`) is read here, at the moment of use.

use url::Url;

use crate::exchange::Secret;
use crate::llm::{Model, Provider};
use crate::settings::{self, ProviderDefaults};
use crate::store::tenants::Assistant;

/// The model that answers for a tenant. The error is for `replies.error`: what to change.
pub fn model_of(assistant: &Assistant) -> Result<Model, String> {
    let provider: Provider = assistant.llm_provider.parse().map_err(|_| {
        format!(
            "llm_provider '{}' is not known: use 'anthropic' or 'openai' (every OpenAI-compatible server, with \
             llm_base_url)",
            assistant.llm_provider
        )
    })?;
    let defaults = match provider {
        Provider::Anthropic => settings::anthropic(),
        Provider::OpenAi => settings::openai(),
    };
    let base_url = assistant.llm_base_url.as_deref().or(defaults.base_url.as_deref());
    let base_url = base_url.unwrap_or(provider.default_base_url());
    let name = assistant.llm_model.clone().or_else(|| defaults.model.clone());
    Ok(Model {
        provider,
        base_url: parse_url(base_url, "llm_base_url")?,
        name: name.unwrap_or_else(|| provider.default_model().to_owned()),
        max_tokens: assistant.max_tokens.unsigned_abs(),
        api_key: key_of(assistant, &defaults)?,
    })
}

/// A URL of a setting, or what is wrong with it. The URL itself may hold a password: it is not told.
pub fn parse_url(text: &str, name: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("{name} is no URL: {error}"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(format!("{name} must start with https:// or http://"))
    }
}

/// The tenant's own key; else the setting's, but only for the setting's own server: a tenant that
/// names another server must not be sent the operator's key.
fn key_of(assistant: &Assistant, defaults: &ProviderDefaults) -> Result<Option<Secret>, String> {
    if let Some(key) = &assistant.llm_api_key {
        return Ok(Some(key.clone()));
    }
    if assistant.llm_base_url.is_some() {
        return Ok(None);
    }
    defaults.key_source.as_deref().map_or(Ok(None), read_source)
}

/// Reads a key from where a setting says it is. A variable that is not set is no key.
pub fn read_source(source: &str) -> Result<Option<Secret>, String> {
    if let Some(name) = source.strip_prefix("env:") {
        return Ok(std::env::var(name)
            .ok()
            .filter(|key| !key.trim().is_empty())
            .map(|key| Secret::new(key.trim())));
    }
    if let Some(path) = source.strip_prefix("file:") {
        let key = std::fs::read_to_string(path).map_err(|error| {
            format!("the file of the setting for the API key cannot be read: {error}")
        })?;
        return Ok(Some(Secret::new(key.trim())));
    }
    // The value may be a key that somebody entered by mistake: it is not repeated.
    Err("the setting for the API key must be env:NAME or file:/path, never the key itself"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_the_environment_and_a_variable_that_is_not_set_is_none() {
        let path = read_source("env:PATH").unwrap().expect("every machine has a PATH");
        assert_eq!(path.expose(), std::env::var("PATH").unwrap().trim());
        assert_eq!(read_source("env:WHAPLY_SURELY_NOT_SET"), Ok(None));
    }

    #[test]
    fn a_key_is_read_from_a_file_without_its_line_break() {
        let file = std::env::temp_dir().join(format!("whaply-key-{}", std::process::id()));
        std::fs::write(&file, "sk-test-1234\n").unwrap();
        let key = read_source(&format!("file:{}", file.display()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(key, Ok(Some(Secret::new("sk-test-1234"))));
        assert!(read_source("file:/no/such/file").is_err());
    }

    #[test]
    fn a_key_entered_in_place_of_its_source_is_refused_and_not_repeated() {
        let error = read_source("sk-ant-secret").unwrap_err();
        assert!(!error.contains("sk-ant-secret") && error.contains("env:NAME"), "{error}");
    }

    #[test]
    fn a_url_that_is_none_is_told_without_repeating_it() {
        for url in ["ftp://user:secret@host", "not a url", "http://", "http://secret@host:eighty/"]
        {
            let error = parse_url(url, "evo_server_url").unwrap_err();
            assert!(error.starts_with("evo_server_url") && !error.contains("secret"), "{error}");
        }
    }
}
