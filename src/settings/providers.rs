//! The settings of servers and keys that tenants without their own use: the operator's, and never a key
//! itself.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::text;

static ANTHROPIC_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:ANTHROPIC_API_KEY"));
static ANTHROPIC_BASE_URL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static ANTHROPIC_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static OPENAI_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:OPENAI_API_KEY"));
static OPENAI_BASE_URL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static OPENAI_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static EVOLUTION_API_KEY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"env:EVOLUTION_API_KEY"));

/// Where the model of a provider is, for tenants that name no server of their own.
#[derive(Clone, Debug)]
pub struct ProviderDefaults {
    /// `env:NAME`, `file:/path` or `vault:NAME`; never the key itself.
    pub key_source: Option<String>,
    pub base_url: Option<String>,
    pub model: Option<String>,
}

pub fn anthropic() -> ProviderDefaults {
    ProviderDefaults {
        key_source: text(&ANTHROPIC_API_KEY),
        base_url: text(&ANTHROPIC_BASE_URL),
        model: text(&ANTHROPIC_MODEL),
    }
}

pub fn openai() -> ProviderDefaults {
    ProviderDefaults {
        key_source: text(&OPENAI_API_KEY),
        base_url: text(&OPENAI_BASE_URL),
        model: text(&OPENAI_MODEL),
    }
}

/// Where Evolution's global key is: `env:NAME`, `file:/path` or `vault:NAME`; never the key itself.
pub fn evolution_key_source() -> Option<String> {
    text(&EVOLUTION_API_KEY)
}

pub(super) fn register() {
    let source =
        c"The source of the key: env:NAME (of the server's environment), file:/path or vault:NAME.";
    let url = c"The server that tenants without llm_base_url use. Unset: the provider's own.";
    let model = c"The model of tenants without llm_model. Unset: a current one of the provider.";
    // PGC_SIGHUP: addresses and files are the operator's, not a database owner's.
    let define = |name, short, setting| {
        GucRegistry::define_string_guc(
            name,
            short,
            c"",
            setting,
            GucContext::Sighup,
            GucFlags::SUPERUSER_ONLY,
        );
    };
    define(c"whaply.anthropic_api_key", source, &ANTHROPIC_API_KEY);
    define(c"whaply.anthropic_base_url", url, &ANTHROPIC_BASE_URL);
    define(c"whaply.anthropic_model", model, &ANTHROPIC_MODEL);
    define(c"whaply.openai_api_key", source, &OPENAI_API_KEY);
    define(c"whaply.openai_base_url", url, &OPENAI_BASE_URL);
    define(c"whaply.openai_model", model, &OPENAI_MODEL);
    define(
        c"whaply.evolution_api_key",
        c"The source of Evolution's global key, for connect_instance: env:NAME, file:/path or vault:NAME.",
        &EVOLUTION_API_KEY,
    );
}
