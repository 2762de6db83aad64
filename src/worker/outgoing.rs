//! From the server's settings to what the calls of a worker may reach. Read when the worker starts and
//! whenever the server's configuration is reloaded; what is wrong with it is told to the log.

use pgrx::warning;

use crate::net::{Authorities, Outgoing, Proxy, Reach};
use crate::{secrets, settings};

/// The settings as they are now. Whatever of them cannot be used lets less out, never more.
pub fn now() -> Outgoing {
    let settings = settings::outgoing();
    let reach = settings.allow_private_addresses.parse::<Reach>();
    let proxy = settings.http_proxy.as_deref().map(proxy).transpose();
    let authorities = settings.ca_file.as_deref().map_or_else(|| Ok(Authorities::default()), read);
    Outgoing {
        // A value that the check let pass, then.
        reach: tell("whaply.allow_private_addresses", reach).unwrap_or_default(),
        proxy: tell("whaply.http_proxy", proxy),
        authorities: tell("whaply.ca_file", authorities),
    }
}

fn tell<T>(setting: &str, read: Result<T, String>) -> Result<T, String> {
    read.inspect_err(|why| warning!("whaply: {setting} cannot be used: {why}"))
}

fn proxy(value: &str) -> Result<Proxy, String> {
    if !settings::is_source(value) {
        return Proxy::parse(value).map_err(str::to_owned);
    }
    let url = secrets::of_setting(value)?.ok_or("its source is empty")?;
    Proxy::parse(url.expose()).map_err(str::to_owned)
}

fn read(path: &str) -> Result<Authorities, String> {
    let file = std::fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    Authorities::parse(&file).map_err(|why| format!("{path} {why}"))
}
