//! Which hosts are this node's, and which pages may change something.

use proptest::prelude::*;

use super::*;

fn own(named: &[&str]) -> OwnHosts {
    OwnHosts::new(false, &named.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

#[test]
fn names_of_this_machine_and_addresses_are_never_foreign() {
    for host in [
        "",
        "localhost",
        "LOCALHOST:8848",
        "localhost.:8848",
        "app.localhost",
        "127.0.0.1",
        "127.0.0.1:8848",
        "127.1:8848",
        "0x7f.1",
        "2130706433",
        "10.0.0.7:80",
        "203.0.113.9",
        "[::1]",
        "[::1]:8848",
        "[fe80::1%25eth0]:8848",
        "callboard",
        "my-machine:8848",
    ] {
        assert!(own(&[]).serves(host), "{host}");
    }
}

#[test]
fn other_names_are_foreign_unless_they_are_named() {
    for host in [
        "evil.example",
        "evil.example:8848",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil",
        "[::1].evil.example",
        "[evil.example]",
        "[::1]:x",
        "evil.example:x",
        "a b",
        "user@evil.example",
        ".",
        ":8848",
    ] {
        assert!(!own(&["good.example"]).serves(host), "{host}");
    }
    for host in ["good.example", "Good.Example.:443"] {
        assert!(own(&["GOOD.example"]).serves(host), "{host}");
    }
    assert!(OwnHosts::new(true, &[]).serves("evil.example"));
}

#[test]
fn a_page_may_change_something_only_at_its_own_host() {
    let may =
        |origin: Option<&str>, site: Option<&str>| own(&["good.example"]).admits(Page { origin, site }, "n1:8848");
    assert!(may(None, None), "no browser");
    assert!(may(None, Some("none")), "typed by its user");
    assert!(may(Some("http://n1:8848"), Some("same-origin")));
    assert!(may(Some("http://N1:8848"), None));
    assert!(may(Some("https://good.example"), Some("cross-site")), "a named one");
    for origin in ["http://evil.example", "http://n1", "http://n1:8849", "null", "", "n1:8848", "http://n1:8848/x"] {
        assert!(!may(Some(origin), None), "{origin}");
    }
    for site in ["cross-site", "same-site"] {
        assert!(!may(None, Some(site)), "{site}");
        assert!(!may(Some("http://n1:8848"), Some(site)), "{site}");
    }
    assert!(!OwnHosts::new(true, &[]).admits(Page { origin: Some("http://evil.example"), site: None }, "n1"));
}

#[test]
fn where_silence_is_not_enough_a_browser_has_to_say_whose_page_it_is() {
    let may =
        |origin: Option<&str>, site: Option<&str>| own(&["good.example"]).vouches(Page { origin, site }, "n1:8848");
    assert!(
        may(None, Some("same-origin")) && may(Some("http://n1:8848"), None) && may(Some("https://good.example"), None)
    );
    assert!(!may(None, None) && !may(None, Some("none")) && !may(None, Some("same-site")));
    assert!(!may(Some("http://n1:8849"), None) && !may(Some("http://n1:8849"), Some("same-origin")));
}

#[test]
fn a_host_that_is_named_has_no_port() {
    for host in ["callboard.example", "n1", "10.0.0.1", "::1", "[::1]"] {
        assert!(is_host(host), "{host}");
    }
    for host in ["", "a:1", "http://a", "a/b", "*.a", "[::1]:1 "] {
        assert!(!is_host(host), "{host}");
    }
}

proptest! {
    #[test]
    fn any_text_is_judged(host in ".*", origin in ".*", name in ".*") {
        let own = own(&[&name]);
        prop_assert_eq!(own.serves(&host), own.serves(&host.to_ascii_uppercase()));
        let admitted = own.admits(Page { origin: Some(&origin), site: None }, &host);
        prop_assert!(!admitted || origin.contains("://"));
        prop_assert!(!is_host(&host) || !host.contains(['/', '@', ' ']));
    }
}
