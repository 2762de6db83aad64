//! Tests of what names a source, and of what the operator's list lets through.

use super::*;

fn source(value: &str) -> Source {
    Source::of(value).expect("a source").expect("well formed")
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn a_value_without_a_prefix_is_the_secret_itself() {
    for value in
        ["", "sk-ant-1234", "ENV:HOME", "environment", "files:/etc", "http://x", "429683C4"]
    {
        assert!(Source::of(value).is_none(), "{value}");
    }
}

#[test]
fn each_kind_of_source_is_read_and_written_alike() {
    for value in ["env:LOJA_KEY_2", "file:/etc/whaply/loja.key", "vault:key of the shop"] {
        assert_eq!(source(value).to_string(), value);
    }
    assert_eq!(source(" env:A\n"), Source::Env("A".to_owned()));
    // Kubernetes keeps secrets behind a link of this name, within their directory.
    assert_eq!(source("file:/secrets/..data/key"), Source::File("/secrets/..data/key".to_owned()));
}

#[test]
fn what_begins_like_a_source_and_names_none_is_refused() {
    for value in [
        "env:",
        "env:2A",
        "env:A-B",
        "env:A B",
        "env:É",
        "file:",
        "file:key",
        "file:/",
        "file:/etc/",
        "file:/etc/../root/key",
        "file:/etc/./key",
        "file:/etc/..",
        "file:/etc/a\nb",
        "vault:",
        "vault: a",
        "vault:a\0b",
    ] {
        assert_eq!(Source::of(value), Some(Err(Malformed)), "{value:?}");
    }
}

#[test]
fn only_what_is_listed_is_read() {
    let listed = Listed::read("env:ONE, file:/etc/whaply/secrets/ ,vault:shop,, nonsense, env:B-C");
    for (value, is_allowed) in [
        ("env:ONE", true),
        ("env:ONE_", false),
        ("env:on", false),
        ("file:/etc/whaply/secrets/a", true),
        ("file:/etc/whaply/secrets/deeper/a", true),
        ("file:/etc/whaply/secrets", false),
        ("file:/etc/whaply/secrets2/a", false),
        ("file:/etc/passwd", false),
        ("vault:shop", true),
        ("vault:other", false),
    ] {
        let source = source(value);
        let allowed = listed.allow(&source, Destination::Nowhere);
        assert_eq!(allowed.is_ok(), is_allowed, "{value}");
    }
    assert!(Listed::read("").allow(&source("env:ONE"), Destination::Nowhere).is_err());
    assert!(Listed::read("vault:*").allow(&source("vault:any"), Destination::Nowhere).is_ok());
    let exactly = Listed::read("file:/run/key");
    assert!(exactly.allow(&source("file:/run/key"), Destination::Nowhere).is_ok());
}

#[test]
fn a_file_is_bound_to_the_directory_that_allows_it() {
    let listed = Listed::read("file:/run/key, file:/etc/secrets/");
    let directory_of = |value: &str| {
        listed.allow(&source(value), Destination::Nowhere).map(|allowed| allowed.directory)
    };
    assert_eq!(directory_of("file:/run/key"), Ok(None));
    assert_eq!(directory_of("file:/etc/secrets/a"), Ok(Some("/etc/secrets/".to_owned())));
}

#[test]
fn a_tenants_own_server_gets_only_what_is_listed_for_it() {
    let (own, official) = (url("https://evil.example/v1"), url("https://api.anthropic.com"));
    let key = source("env:KEY");
    let allows = |setting: &str, destination: Destination<'_>| {
        Listed::read(setting).allow(&key, destination).is_ok()
    };
    let (to_own, to_official) = (Destination::Tenants(&own), Destination::Operators(&official));
    for (setting, own, official) in [
        ("env:KEY", false, true),
        ("env:KEY for evil.example", true, false),
        ("env:KEY for EVIL.example:443", true, false),
        ("env:KEY for evil.example:80", false, false),
        ("env:KEY for example", false, false),
        ("env:KEY for *", true, true),
        ("env:KEY, env:KEY for evil.example", true, true),
        ("env:OTHER for *", false, false),
        ("env:KEY for", false, false),
    ] {
        assert_eq!(allows(setting, to_own), own, "{setting}");
        assert_eq!(allows(setting, to_official), official, "{setting}");
    }
    // What is compared here leaves nobody.
    assert!(allows("env:KEY for evil.example", Destination::Nowhere));
}

#[test]
fn a_server_is_known_by_its_address_and_port_too() {
    let key = source("vault:key of the shop");
    for (server, entry) in [
        ("http://evolution-api:8080/", "vault:key of the shop for evolution-api:8080"),
        ("http://[::1]:8080", "vault:key of the shop for [::1]:8080"),
        ("http://10.0.3.7", "vault:* for 10.0.3.7:80"),
    ] {
        let server = url(server);
        assert!(Listed::read(entry).allow(&key, Destination::Tenants(&server)).is_ok(), "{entry}");
    }
}

#[test]
fn the_error_names_the_entry_to_add() {
    let (own, key) = (url("http://evolution:8080/x?token=hidden"), source("env:KEY"));
    let error = |destination| Listed::default().allow(&key, destination).unwrap_err();
    assert!(error(Destination::Nowhere).contains("add 'env:KEY' to"));
    assert!(error(Destination::Operators(&own)).contains("add 'env:KEY' to"));
    let error = error(Destination::Tenants(&own));
    assert!(error.contains("add 'env:KEY for evolution:8080' to"), "{error}");
    assert!(!error.contains("hidden"), "{error}");
}
