//! The operator's own proxy, the value of whaply.http_proxy. The environment's is never asked for.

use std::fmt;

use ureq::ProxyProtocol;
use url::Url;

use crate::exchange::Secret;

/// Where the proxy is, perhaps with a password. It asks for the target by CONNECT, of http URLs too.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) proxy: ureq::Proxy,
    /// Written nowhere.
    password: Option<Secret>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.proxy.host(), self.proxy.port())
    }
}

impl Proxy {
    /// Reads `http://host:port`, which may hold a user and a password. The error repeats none of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "a proxy is http://host:port or https://host:port";
        let url = Url::parse(text.trim()).map_err(|_| FORM)?;
        let is_bare =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_bare {
            return Err(FORM);
        }
        let proxy = ureq::Proxy::new(url.as_str()).map_err(|_| FORM)?;
        if !matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) {
            return Err(FORM);
        }
        let password = proxy.password().map(Secret::new);
        Ok(Self { proxy, password })
    }

    pub fn has_credentials(&self) -> bool {
        self.proxy.username().is_some() || self.password.is_some()
    }

    /// `text` without the password.
    pub(super) fn mask(&self, text: &str) -> String {
        self.password.as_ref().map_or_else(|| text.to_owned(), |password| password.mask(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_scheme_a_host_and_a_port() {
        for (text, shown) in [
            ("http://proxy:3128", "proxy:3128"),
            (" http://proxy.example.com:3128/ ", "proxy.example.com:3128"),
            ("https://proxy", "proxy:443"),
            ("http://user:secret@10.0.0.1:8080", "10.0.0.1:8080"),
        ] {
            assert_eq!(format!("{:?}", Proxy::parse(text).unwrap()), shown);
        }
        for text in [
            "",
            "proxy:3128",
            "socks5://proxy:1080",
            "http://",
            "http://proxy/path",
            "http://p?q=secret",
        ] {
            let why = Proxy::parse(text).expect_err(text);
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_password_is_known_and_shown_nowhere() {
        let proxy = Proxy::parse("http://user:secret@proxy:3128").unwrap();
        assert!(proxy.has_credentials());
        assert!(!format!("{proxy:?}").contains("secret"));
        assert_eq!(proxy.mask("said secret"), "said ***");
        assert!(!Proxy::parse("http://proxy:3128").unwrap().has_credentials());
    }
}
