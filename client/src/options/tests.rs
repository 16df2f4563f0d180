//! Tests of the options.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Options, OptionsError, generated_id};

#[test]
fn the_defaults_are_valid_once_a_node_is_named() {
    assert_eq!(Options::new(["a"]).validate(), Ok(()));
    assert_eq!(Options::new([""; 0]).validate(), Err(OptionsError::Nodes));
    assert_eq!(Options::new([" "]).validate(), Err(OptionsError::Nodes));
}

#[test]
fn what_is_wrong_is_named() {
    let with = |change: fn(&mut Options)| {
        let mut options = Options::new(["a"]);
        change(&mut options);
        options.validate()
    };
    assert_eq!(with(|options| options.client_id = "a b".into()), Err(OptionsError::ClientId));
    assert_eq!(with(|options| options.client_id.clear()), Err(OptionsError::ClientId));
    assert_eq!(with(|options| options.request_timeout = Duration::ZERO), Err(OptionsError::Timeout));
    assert_eq!(with(|options| options.back_off.most = Duration::ZERO), Err(OptionsError::BackOff));
    let labels: BTreeMap<_, _> = (0..17).map(|number| (number.to_string(), String::new())).collect();
    assert_eq!(Options { labels, ..Options::new(["a"]) }.validate(), Err(OptionsError::Labels));
}

#[test]
fn a_generated_id_is_valid_whatever_the_host_is_called() {
    for host in [Some("web 1"), Some("é"), Some(""), None, Some(&*"h".repeat(300))] {
        let options = Options { client_id: generated_id(host, 7), ..Options::new(["a"]) };
        assert_eq!(options.validate(), Ok(()), "{host:?}");
    }
    assert_eq!(generated_id(Some("web 1"), 7), "web1-0000000000000007");
}

#[test]
fn credentials_are_never_shown() {
    let options = Options { credentials: "secret".into(), ..Options::new(["a"]) };
    assert!(!format!("{options:?}").contains("secret"));
}
