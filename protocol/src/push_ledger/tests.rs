//! The account tells the truth, and says where it can't.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use super::{PushEvent, PushLedger, PushState, PushStep, SessionNumber};
use crate::config::Version;
use crate::gray::ClientIdentity;
use crate::key::ConfigKey;
use crate::session::client::{Client, ClientId, ClientKind};
use crate::time::WallMillis;

fn event(session: u64, version: u64, step: PushStep) -> PushEvent {
    let client = Client {
        id: ClientId(format!("c{session}").into()),
        kind: ClientKind::Tcp,
        identity: ClientIdentity::default(),
        software: String::new(),
    };
    let key = ConfigKey::new("public", "g", "d").unwrap();
    PushEvent { session: SessionNumber(session), client: Arc::new(client), key, version: Version(version), step }
}

fn state(ledger: &PushLedger, session: u64, version: u64) -> Option<PushState> {
    let key = ConfigKey::new("public", "g", "d").unwrap();
    Some(ledger.rows(&key, Version(version))?.get(&SessionNumber(session))?.state)
}

#[test]
fn each_connection_has_its_own_row() {
    let mut ledger = PushLedger::new(100);
    for session in 1..=4 {
        ledger.record(WallMillis(1), event(session, 7, PushStep::Sent));
    }
    ledger.record(WallMillis(2), event(2, 7, PushStep::Applied));
    ledger.record(WallMillis(2), event(3, 7, PushStep::Rejected("no".into())));
    ledger.record(WallMillis(2), event(4, 7, PushStep::Lost));
    let states: Vec<_> = (1..=4).map(|session| state(&ledger, session, 7).unwrap()).collect();
    assert_eq!(states, [PushState::Sent, PushState::Applied, PushState::Rejected, PushState::Lost]);
}

#[test]
fn an_answer_stays_although_the_connection_ends_or_a_later_version_comes() {
    let mut ledger = PushLedger::new(100);
    ledger.record(WallMillis(1), event(1, 7, PushStep::Sent));
    ledger.record(WallMillis(2), event(1, 7, PushStep::Applied));
    ledger.record(WallMillis(3), event(1, 7, PushStep::Lost));
    ledger.record(WallMillis(3), event(1, 7, PushStep::Superseded));
    assert_eq!(state(&ledger, 1, 7), Some(PushState::Applied));
    ledger.record(WallMillis(4), event(1, 7, PushStep::Rejected("after all".into())));
    assert_eq!(state(&ledger, 1, 7), Some(PushState::Rejected), "the client may change its mind");
}

#[test]
fn what_was_forgotten_is_not_known() {
    let mut ledger = PushLedger::new(10);
    assert!(!ledger.is_whole(Version(5)), "nobody said since when");
    ledger.begin_after(Version(3));
    assert!(ledger.is_whole(Version(4)) && !ledger.is_whole(Version(3)));
    for version in 4..=20 {
        ledger.record(WallMillis(1), event(1, version, PushStep::Sent));
        assert!(ledger.len() <= 10);
    }
    assert_eq!((state(&ledger, 1, 10), state(&ledger, 1, 11)), (None, Some(PushState::Sent)));
    assert!(!ledger.is_whole(Version(10)) && ledger.is_whole(Version(11)));
}
