//! The settings of calls to the outside: where they may go, through which proxy, and whose
//! certificates are trusted. All of them the operator's, and each is looked at when it is set.

use std::ffi::{CStr, CString, c_char, c_void};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{pg_guard, pg_sys};

use super::text;
use crate::net::{Proxy, Reach};

static ALLOW_PRIVATE_ADDRESSES: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"off"));
static HTTP_PROXY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static CA_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// The settings as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingSettings {
    pub allow_private_addresses: String,
    /// A URL without a password, or `env:NAME` or `file:/path` of one that may have it.
    pub http_proxy: Option<String>,
    /// A file of certificates in PEM.
    pub ca_file: Option<String>,
}

pub fn outgoing() -> OutgoingSettings {
    OutgoingSettings {
        allow_private_addresses: text(&ALLOW_PRIVATE_ADDRESSES).unwrap_or_default(),
        http_proxy: text(&HTTP_PROXY),
        ca_file: text(&CA_FILE),
    }
}

/// Whether the value of whaply.http_proxy names where its URL is, rather than the URL.
pub fn is_source(value: &str) -> bool {
    value.starts_with("env:") || value.starts_with("file:")
}

pub(super) fn register() {
    let define = |name, short, long, setting, check| {
        let (context, flags) = (GucContext::Sighup, GucFlags::SUPERUSER_ONLY);
        // SAFETY: called while the library is loaded; the hooks are guarded against panics.
        unsafe {
            GucRegistry::define_string_guc_with_hooks(
                name, short, long, setting, context, flags, check, None, None,
            );
        }
    };
    define(
        c"whaply.allow_private_addresses",
        c"The private and loopback addresses that may be called: addresses, networks, hosts, host:port. Or on, off.",
        c"As in 10.0.3.0/24, evolution-api:8080. Link-local and metadata addresses are never called.",
        &ALLOW_PRIVATE_ADDRESSES,
        Some(check_private_addresses),
    );
    define(
        c"whaply.http_proxy",
        c"The proxy by which all calls go out: http://host:port, or env:NAME or file:/path of such a URL.",
        c"What allow_private_addresses lists is called directly. The environment's proxy is not used.",
        &HTTP_PROXY,
        Some(check_proxy),
    );
    define(
        c"whaply.ca_file",
        c"A file of certificates (PEM) of authorities to trust beside the public ones.",
        c"Certificates are always verified.",
        &CA_FILE,
        Some(check_file),
    );
}

/// # Safety
/// Called by PostgreSQL, as a check hook.
#[pg_guard]
unsafe extern "C-unwind" fn check_private_addresses(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as the caller promises.
    unsafe { check(value, |list| list.parse::<Reach>().map(drop)) }
}

/// # Safety
/// Called by PostgreSQL, as a check hook.
#[pg_guard]
unsafe extern "C-unwind" fn check_proxy(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as the caller promises.
    unsafe { check(value, check_proxy_text) }
}

/// # Safety
/// Called by PostgreSQL, as a check hook.
#[pg_guard]
unsafe extern "C-unwind" fn check_file(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        check(value, |path| {
            let is_plain = path.is_empty() || path.starts_with('/');
            is_plain.then_some(()).ok_or_else(|| "It must be an absolute path.".to_owned())
        })
    }
}

/// A password in a setting would stand in the server's files and in its log.
fn check_proxy_text(value: &str) -> Result<(), String> {
    if value.is_empty() || is_source(value) {
        return Ok(());
    }
    let proxy =
        Proxy::parse(value).map_err(|why| format!("{why}, or env:NAME or file:/path of it."))?;
    if proxy.has_credentials() {
        return Err(
            "A user and password stand in a file or a variable of the server's environment: \
                    file:/path or env:NAME, whose content is http://user:password@host:port."
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether a value is taken; else PostgreSQL tells why. The value itself is not repeated: it may hold
/// what somebody entered in the wrong place.
///
/// # Safety
/// `value` is that of a check hook: it points to a pointer that is null or a C string.
unsafe fn check(value: *mut *mut c_char, read: impl FnOnce(&str) -> Result<(), String>) -> bool {
    // SAFETY: as the caller promises.
    let text = unsafe {
        if (*value).is_null() {
            return true;
        }
        CStr::from_ptr(*value).to_string_lossy()
    };
    let Err(why) = read(text.trim()) else { return true };
    // SAFETY: PostgreSQL prints these and forgets them with its ErrorContext.
    unsafe {
        pg_sys::GUC_check_errmsg_string = told("the value of this setting of whaply is not valid");
        pg_sys::GUC_check_errdetail_string = told(&why);
    }
    false
}

/// # Safety
/// Within a call of PostgreSQL.
unsafe fn told(text: &str) -> *mut c_char {
    let text = CString::new(text.replace('\0', "")).unwrap_or_default();
    // SAFETY: copies a C string into memory that PostgreSQL resets after the error.
    unsafe { pg_sys::MemoryContextStrdup(pg_sys::ErrorContext, text.as_ptr()) }
}
