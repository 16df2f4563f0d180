//! Tests of the mailbox of a watch.

use super::Mailbox;
use crate::config::{Config, Freshness};
use crate::error::Error;
use crate::key::ConfigKey;

fn config(data_id: &str, version: u64) -> Config {
    Config::missing(ConfigKey::public("shop", data_id), version)
}

fn taken(mailbox: &mut Mailbox) -> Option<(String, u64)> {
    mailbox.take().map(|cached| (cached.config.key.data_id().to_owned(), cached.config.version))
}

#[test]
fn a_slow_reader_gets_the_newest_of_each_key_in_the_order_of_their_first() {
    let mut mailbox = Mailbox::default();
    for (data_id, version) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
        assert!(mailbox.put(config(data_id, version), Freshness::Live, false));
    }
    assert_eq!(taken(&mut mailbox), Some(("a".into(), 4)));
    assert_eq!(taken(&mut mailbox), Some(("b".into(), 2)));
    assert_eq!(taken(&mut mailbox), None);
}

#[test]
fn a_version_is_told_once_unless_it_is_told_anew() {
    let mut mailbox = Mailbox::default();
    assert!(mailbox.put(config("a", 1), Freshness::Live, false));
    assert!(!mailbox.put(config("a", 1), Freshness::Live, false));
    assert!(mailbox.put(config("a", 1), Freshness::Live, true));
}

#[test]
fn what_waits_is_taken_after_the_end_too() {
    let mut mailbox = Mailbox::default();
    mailbox.put(config("a", 1), Freshness::Live, false);
    mailbox.end(Error::Closed);
    assert_eq!(taken(&mut mailbox), Some(("a".into(), 1)));
    assert_eq!(mailbox.ended(), Some(&Error::Closed));
}
