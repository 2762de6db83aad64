//! From a tenant's settings to a model and to its instance of Evolution: which server, which model,
//! which key. A key that is named by its source is read at this moment (`secrets`).

use url::Url;

use crate::evolution::Instance;
use crate::exchange::Secret;
use crate::llm::{Model, Provider};
use crate::secrets::{self, Destination};
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
    let defaults = defaults_of(provider);
    let base_url = server_of_model(assistant, provider, &defaults)?;
    let name = assistant.llm_model.clone().or_else(|| defaults.model.clone());
    Ok(Model {
        provider,
        name: name.unwrap_or_else(|| provider.default_model().to_owned()),
        max_tokens: assistant.max_tokens.unsigned_abs(),
        api_key: key_of(assistant, &base_url, &defaults)?,
        base_url,
    })
}

fn defaults_of(provider: Provider) -> ProviderDefaults {
    match provider {
        Provider::Anthropic => settings::anthropic(),
        Provider::OpenAi => settings::openai(),
    }
}

fn server_of_model(
    assistant: &Assistant,
    provider: Provider,
    defaults: &ProviderDefaults,
) -> Result<Url, String> {
    let base_url = assistant.llm_base_url.as_deref().or(defaults.base_url.as_deref());
    parse_url(base_url.unwrap_or(provider.default_base_url()), "llm_base_url")
}

/// Why the tenant's own key cannot be read, or sent to its model. None where something else is wrong, too.
pub fn trouble_of_model_key(assistant: &Assistant) -> Option<String> {
    let provider: Provider = assistant.llm_provider.parse().ok()?;
    let defaults = defaults_of(provider);
    let base_url = server_of_model(assistant, provider, &defaults).ok()?;
    key_of(assistant, &base_url, &defaults).err()
}

/// The same of the key for its instance of Evolution.
pub fn trouble_of_gateway_key(assistant: &Assistant) -> Option<String> {
    parse_url(&assistant.evo_server_url, "evo_server_url").ok()?;
    instance_of(assistant).err()
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
fn key_of(
    assistant: &Assistant,
    base_url: &Url,
    defaults: &ProviderDefaults,
) -> Result<Option<Secret>, String> {
    let has_own_server = assistant.llm_base_url.is_some();
    if let Some(key) = &assistant.llm_api_key {
        let destination = if has_own_server {
            Destination::Tenants(base_url)
        } else {
            Destination::Operators(base_url)
        };
        return secrets::resolve("llm_api_key", key, destination).map(Some);
    }
    if has_own_server {
        return Ok(None);
    }
    defaults.key_source.as_deref().map_or(Ok(None), secrets::of_setting)
}

/// Where a tenant's messages go. The error is for `deliveries.error`: what to change.
pub fn instance_of(assistant: &Assistant) -> Result<Instance, String> {
    instance(&assistant.evo_server_url, &assistant.instance_name, assistant.evo_api_key.as_ref())
}

/// An instance of Evolution, as a tenant's row names it.
pub fn instance(server: &str, name: &str, api_key: Option<&Secret>) -> Result<Instance, String> {
    let base_url = parse_url(server, "evo_server_url")?;
    let destination = Destination::Tenants(&base_url);
    let api_key = secrets::resolve_any("evo_api_key", api_key, destination)?;
    Ok(Instance { base_url, name: name.to_owned(), api_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_is_told_without_repeating_it() {
        for url in ["ftp://user:secret@host", "not a url", "http://", "http://secret@host:eighty/"]
        {
            let error = parse_url(url, "evo_server_url").unwrap_err();
            assert!(error.starts_with("evo_server_url") && !error.contains("secret"), "{error}");
        }
    }
}
