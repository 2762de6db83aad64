//! The list against addresses, names and every way to write a host. No name is looked up here.

use url::Url;

use super::*;

fn reach(list: &str) -> Reach {
    list.parse().unwrap_or_else(|why| panic!("{list}: {why}"))
}

fn target(url: &str) -> Target {
    let url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    Target::new(url.host_str().unwrap(), url.port_or_known_default().unwrap())
}

/// What becomes of a call to this URL, whose name has these addresses.
fn pick(list: &str, url: &str, addresses: &str) -> Result<String, Refusal> {
    let target = target(url);
    let port = target.port;
    let addresses = addresses.split_whitespace();
    let addresses = addresses.map(|address| SocketAddr::new(address.parse().unwrap(), port));
    let picked = reach(list).pick(&target, addresses)?;
    let picked: Vec<String> = picked.iter().map(|address| address.ip().to_string()).collect();
    Ok(picked.join(" "))
}

/// `open`, `listed`: what a list must say; `never`.
fn word(result: &Result<String, Refusal>) -> &'static str {
    match result {
        Ok(_) => "open",
        Err(Refusal::NotListed(_)) => "not listed",
        Err(Refusal::Never(_)) => "never",
    }
}

/// A URL that names an address by itself.
fn call(list: &str, url: &str) -> &'static str {
    match target(url).host {
        TargetHost::Address(address) => word(&pick(list, url, &address.to_string())),
        TargetHost::Name(name) => panic!("{url}: {name} is a name"),
    }
}

#[test]
fn without_a_list_only_public_addresses_are_called() {
    assert_eq!(call("off", "https://1.1.1.1/"), "open");
    assert_eq!(call("", "http://10.0.3.7:8080/"), "not listed");
    assert_eq!(call("", "http://[::1]/"), "not listed");
    assert_eq!(call("", "http://169.254.169.254/latest/meta-data"), "never");
}

#[test]
fn however_an_address_is_written_it_is_the_same() {
    for host in [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.1",
        "127.0.0.1.",
        "127.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
    ] {
        let url = format!("http://user:password@{host}:8080/path");
        assert_eq!(call("", &url), "not listed", "{host}");
        assert_eq!(call("127.0.0.1", &url), "open", "{host}");
        assert_eq!(call("127.0.0.1:8080", &url), "open", "{host}");
        assert_eq!(call("127.0.0.1:80", &url), "not listed", "{host}");
    }
    for host in
        ["2852039166", "0xa9fea9fe", "169.254.43518", "[::ffff:a9fe:a9fe]", "[::ffff:0:0]", "0"]
    {
        assert_eq!(call("on, 0.0.0.0/0, ::/0", &format!("http://{host}/")), "never", "{host}");
    }
}

#[test]
fn what_stands_before_an_at_sign_is_no_host() {
    assert_eq!(call("", "http://api.anthropic.com@10.0.3.7/"), "not listed");
    assert_eq!(call("", r"http:\\10.0.3.7\@api.anthropic.com/"), "not listed");
    assert_eq!(call("1.1.1.1", "http://1.1.1.1#@10.0.3.7/"), "open");
}

#[test]
fn a_url_with_a_zone_or_a_broken_address_is_no_url() {
    for url in [
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://1.2.3.4.5/",
        "http://0x100000000/",
    ] {
        assert!(Url::parse(url).is_err(), "{url}");
    }
}

#[test]
fn what_is_never_called_is_not_called_whatever_the_list_says() {
    let list = "on, 0.0.0.0/0, ::/0, metadata.google.internal, fd00::/8";
    for address in [
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
        "192.0.2.1",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "100.100.100.200",
    ] {
        assert_eq!(call(list, &format!("http://{address}/")), "never", "{address}");
    }
    let metadata = pick(list, "http://metadata.google.internal/", "169.254.169.254");
    assert_eq!(
        metadata.unwrap_err().message(),
        "metadata.google.internal has a metadata address of a cloud, which is never called"
    );
}

#[test]
fn a_network_an_address_and_on_let_private_addresses_be_called() {
    for list in [
        "10.0.3.0/24",
        "10.0.3.9/24",
        "10.0.3.7",
        "10.0.3.7:8080",
        "on",
        " ON ,",
        "::ffff:10.0.3.0/120",
        "192.168.0.0/16, 10.0.3.7",
        "0.0.0.0/0",
    ] {
        assert_eq!(call(list, "http://10.0.3.7:8080/"), "open", "{list}");
    }
    for list in ["10.0.4.0/24", "10.0.3.8", "10.0.3.7:8081", "evolution-api", "::/0", "off"] {
        assert_eq!(call(list, "http://10.0.3.7:8080/"), "not listed", "{list}");
    }
}

#[test]
fn an_address_in_another_networks_clothes_must_be_listed_itself() {
    for url in ["http://[64:ff9b::10.0.3.7]/", "http://[2002:a00:307::1]/"] {
        assert_eq!(call("10.0.3.0/24", url), "not listed", "{url}");
        assert_eq!(call("64:ff9b::/96, 2002:a00:307::/48", url), "open", "{url}");
    }
    assert_eq!(call("10.0.3.0/24", "http://[::ffff:10.0.3.7]/"), "open", "it is the same socket");
}

#[test]
fn a_name_in_the_list_lets_its_private_addresses_be_called() {
    let (url, address) = ("http://evolution-api:8080/", "172.18.0.3");
    for list in
        ["evolution-api:8080", "evolution-api", "Evolution-API.:8080", "172.16.0.0/12", "on"]
    {
        assert_eq!(pick(list, url, address).as_deref(), Ok(address), "{list}");
    }
    for list in
        ["", "evolution-api:8081", "evolution", "api", "10.0.0.0/8", "evolution-api.example.com"]
    {
        assert_eq!(word(&pick(list, url, address)), "not listed", "{list}");
    }
    for url in [
        "http://EVOLUTION-API:8080/",
        "http://evolution-api.:8080/",
        "http://u:p@evolution-api:8080/",
    ] {
        assert_eq!(word(&pick("evolution-api:8080", url, address)), "open", "{url}");
    }
    assert_eq!(word(&pick("example.com", "http://evil.example.com/", "10.0.0.1")), "not listed");
    assert_eq!(word(&pick("shop_evolution:80", "http://shop_evolution/", "10.0.0.1")), "open");
}

#[test]
fn of_several_addresses_only_those_that_may_be_called_are_left() {
    let url = "https://both.example.com/";
    assert_eq!(pick("", url, "10.0.0.1 1.1.1.1 169.254.169.254").as_deref(), Ok("1.1.1.1"));
    assert_eq!(pick("10.0.0.1", url, "10.0.0.1 fd00::7").as_deref(), Ok("10.0.0.1"));
    assert_eq!(
        pick("both.example.com", url, "10.0.0.1 fd00::7").as_deref(),
        Ok("10.0.0.1 fd00::7")
    );
    let mendable = pick("", url, "169.254.169.254 10.0.0.1");
    assert_eq!(word(&mendable), "not listed", "told is what somebody can do something about");
    assert_eq!(word(&pick("on", url, "169.254.1.1 ::")), "never");
    assert_eq!(word(&pick("on", url, "")), "never");
}

#[test]
fn a_refusal_names_the_line_to_add_and_never_the_list() {
    let refusal = pick("", "http://10.0.3.7:8080/", "10.0.3.7").unwrap_err();
    assert_eq!(
        refusal.message(),
        "10.0.3.7 is a private address: add it to whaply.allow_private_addresses (ALTER SYSTEM SET \
         whaply.allow_private_addresses = '10.0.3.7'; SELECT pg_reload_conf())"
    );
    let refusal = pick("192.168.77.5", "http://evolution-api/", "172.18.0.3").unwrap_err();
    assert!(refusal.message().starts_with("evolution-api has a private address: add it"));
    assert!(refusal.message().contains("= '..., evolution-api:80';"), "{refusal}");
    assert!(!refusal.message().contains("192.168.77.5") && !refusal.message().contains("172.18"));
    let refusal = pick("", "http://[fd00::7]:1/", "fd00::7").unwrap_err();
    assert!(refusal.message().contains("= 'fd00::7';"), "{refusal}");
    for (url, address) in [
        ("http://[fd00::7]:1/", "fd00::7"),
        ("http://10.0.3.7/", "10.0.3.7"),
        ("http://a.lan:9/", "127.0.0.1"),
    ] {
        let refusal = pick("", url, address).unwrap_err();
        let entry = refusal.message().split('\'').nth(1).unwrap();
        assert_eq!(
            word(&pick(entry, url, address)),
            "open",
            "the line that is told helps: {entry}"
        );
    }
}

#[test]
fn a_quote_in_a_name_ends_no_string() {
    let refusal = pick("", "http://a'b.lan/", "10.0.0.1").unwrap_err();
    assert!(refusal.message().contains("= 'a''b.lan:80';"), "{refusal}");
}

#[test]
fn a_list_with_an_entry_that_is_none_is_refused_and_the_entry_named() {
    for entry in [
        "http://evolution-api:8080",
        "10.0.3.0/33",
        "10.0.3.7/",
        "evolution-api:",
        "evolution-api:0",
        "evolution-api:65536",
        "a b",
        "*.internal",
        "...",
        "[::1",
        "fe80::1%eth0",
        "10.0.3.7-10.0.3.9",
        "a..b",
        "::1:x",
    ] {
        let why = format!("10.0.0.0/8, {entry}").parse::<Reach>().expect_err(entry);
        assert!(why.starts_with(&format!("\"{entry}\" is no address")), "{why}");
    }
    assert!("on; off".parse::<Reach>().is_err());
}

#[test]
fn a_list_of_what_is_never_called_is_refused() {
    for entry in [
        "169.254.169.254",
        "169.254.0.0/16",
        "fe80::/10",
        "0.0.0.0",
        "2852039166",
        "[fd00:ec2::254]:80",
        "ff00::/8",
    ] {
        let why = entry.parse::<Reach>().expect_err(entry);
        assert!(why.contains("never called"), "{why}");
    }
}

#[test]
fn every_form_of_an_entry_is_read() {
    for list in [
        "",
        " , ",
        "off",
        "OFF",
        "on",
        "127.0.0.0/8, ::1",
        "[::1]",
        "[::1]:8080",
        "::1",
        "10.0.3.7:8080",
        "localhost",
        "evolution-api:8080",
        "fd12:3456::/32",
        "2130706433",
        "xn--caf-dma.example",
        "café.example",
        "1.1.1.1",
    ] {
        reach(list);
    }
    assert_eq!(call("[::1]:8080", "http://[::1]:8080/"), "open");
    assert_eq!(call("[::1]:8080", "http://[::1]:8081/"), "not listed");
    assert_eq!(call("2130706433", "http://127.0.0.1/"), "open");
}

#[test]
fn with_a_proxy_what_is_private_never_goes_to_it() {
    let way = |list: &str, url: &str| reach(list).way(&target(url));
    assert_eq!(way("", "https://api.anthropic.com/"), Ok(Way::ByProxy));
    assert_eq!(way("on", "https://api.anthropic.com/"), Ok(Way::ByProxy));
    assert_eq!(way("", "https://1.1.1.1/"), Ok(Way::ByProxy));
    assert_eq!(way("evolution.example.com", "https://evolution.example.com/"), Ok(Way::Direct));
    assert_eq!(way("evolution-api:8080", "http://evolution-api:8080/"), Ok(Way::Direct));
    assert_eq!(way("on", "http://evolution-api:8080/"), Ok(Way::Direct));
    assert_eq!(way("10.0.0.0/8", "http://10.0.3.7/"), Ok(Way::Direct));
    for name in [
        "localhost",
        "localhost.",
        "a.localhost",
        "evolution-api",
        "metadata.google.internal",
        "nas.local",
        "router.home.arpa",
        "a.lan",
    ] {
        let refused = way("10.0.0.0/8", &format!("http://{name}:8080/")).unwrap_err();
        assert!(matches!(refused, Refusal::NotListed(_)), "{name}: {refused}");
    }
    for address in ["10.0.3.7", "127.0.0.1", "[::1]"] {
        assert!(matches!(way("", &format!("http://{address}/")), Err(Refusal::NotListed(_))));
    }
    assert!(matches!(way("on", "http://169.254.169.254/"), Err(Refusal::Never(_))));
    assert_eq!(way("", "https://notlocalhost.example/"), Ok(Way::ByProxy));
}
