//! What names a person, a chat or a client: JIDs, phone numbers in any writing, the addresses that proxies
//! tell, and the paths of requests.

use std::net::{IpAddr, Ipv4Addr};

use super::webhook::check_jid;
use crate::front_door::address::{self, TrustedProxies};
use crate::front_door::routes::{Route, route};
use crate::webhook::{Jid, JidKind};

pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    check_jid_of(&text.replace('\0', ""));
    check_writing(&text);
    check_client(&text);
    check_path(&text);
}

fn check_jid_of(text: &str) {
    let Some(jid) = Jid::new(text) else { return };
    check_jid(&jid);
    assert_eq!(Jid::new(jid.as_str()).as_ref(), Some(&jid), "normal once is normal for ever");
    assert!(jid.is_same_phone(&jid));
    for other in jid.phone_variants() {
        assert!(other.is_same_phone(&jid), "{other} is {jid}, and the other way round");
        assert_eq!(other.kind(), jid.kind());
    }
}

fn check_writing(text: &str) {
    let Some(jid) = Jid::from_any_writing(text) else { return };
    check_jid(&jid);
    assert_ne!(jid.kind(), JidKind::Other);
    assert_eq!(Jid::from_any_writing(jid.as_str()).as_ref(), Some(&jid), "{text}");
    assert!(jid.as_str().is_ascii() && !jid.as_str().contains(char::is_whitespace), "{jid:?}");
}

fn check_client(text: &str) {
    let stranger = IpAddr::from([192, 0, 2, 1]);
    let own = IpAddr::from(Ipv4Addr::LOCALHOST);
    let headers: Vec<&str> = text.lines().collect();
    let none = TrustedProxies::default();
    assert_eq!(address::client(stranger, &headers, &none), stranger, "nobody believes a stranger");
    let client = address::client(own, &headers, &none);
    assert_eq!(client, client.to_canonical());
    if let Ok(trusted) = TrustedProxies::parse(text) {
        address::client(stranger, &headers, &trusted);
    }
}

fn check_path(text: &str) {
    for method in ["POST", "GET", text] {
        let meant = route(method, text);
        assert_eq!(meant, route(method, text));
        match meant {
            Route::Webhook { .. } => assert_eq!(method, "POST"),
            Route::Health | Route::Metrics => assert_ne!(method, "POST"),
            Route::NotFound | Route::WrongMethod { .. } => {}
        }
    }
}
