//! Pages of several nodes are as one, and nothing is left out between two of them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use proptest::prelude::*;

use super::{ClientFilter, ClientSeen, Page, Place, standing};
use crate::config::Version;
use crate::gray::ClientIdentity;
use crate::push_ledger::{PushState, Row, SessionNumber};
use crate::session::client::{Client, ClientId, ClientKind};
use crate::session::position::{Mark, Position, Pushed, Reaction};
use crate::time::WallMillis;

fn client(id: &str, application: Option<&str>) -> Client {
    let identity = ClientIdentity {
        address: "10.0.0.7".to_owned(),
        application: application.map(str::to_owned),
        labels: vec![("zone".to_owned(), "a".to_owned())],
        ..ClientIdentity::default()
    };
    Client { id: ClientId(id.into()), kind: ClientKind::Tcp, identity, software: String::new() }
}

fn seen(id: u8, node: u8, session: u64) -> ClientSeen {
    let client = client(&format!("c{id}"), None);
    let place =
        Place { client: client.id.clone(), node: Arc::from(format!("n{node}")), session: SessionNumber(session) };
    let (since, is_idle) = (WallMillis(0), false);
    ClientSeen { place, client, since, is_idle, keys: Vec::new(), watched: 0, prefixes: Vec::new() }
}

#[test]
fn each_part_of_a_filter_narrows() {
    let shop = client("c1", Some("shop"));
    let text = |text: &str| Some(text.to_owned());
    assert!(ClientFilter::default().fits(&shop));
    assert!(ClientFilter { application: text("shop"), id: text("c1"), ..ClientFilter::default() }.fits(&shop));
    assert!(!ClientFilter { application: text("sho"), ..ClientFilter::default() }.fits(&shop));
    assert!(!ClientFilter { kind: Some(ClientKind::Stream), ..ClientFilter::default() }.fits(&shop));
    let label = |value: &str| Some(("zone".to_owned(), value.to_owned()));
    assert!(ClientFilter { label: label("a"), ..ClientFilter::default() }.fits(&shop));
    assert!(!ClientFilter { label: label("b"), ..ClientFilter::default() }.fits(&shop));
    assert!(!ClientFilter { application: text("x"), ..ClientFilter::default() }.fits(&client("c", None)));
}

#[test]
fn without_a_row_the_version_held_tells() {
    let holds = |version| Position { holds: Some(Mark { version: Version(version), md5: None }), pushed: None };
    assert_eq!(standing(&holds(7), None, Version(7)), PushState::Held);
    assert_eq!(standing(&holds(8), None, Version(7)), PushState::Superseded);
    assert_eq!(standing(&holds(6), None, Version(7)), PushState::Pending);
    assert_eq!(standing(&Position::default(), None, Version(7)), PushState::Pending);
}

#[test]
fn a_session_knows_better_than_the_account() {
    let pushed = |version, reaction| Some(Pushed { version: Version(version), reaction });
    let row = Row { client: Arc::new(client("c", None)), state: PushState::Sent, reason: None, at: WallMillis(1) };
    let position = Position { holds: None, pushed: pushed(7, Reaction::Applied) };
    assert_eq!(standing(&position, Some(&row), Version(7)), PushState::Applied);
    let position = Position { holds: None, pushed: pushed(8, Reaction::Applied) };
    assert_eq!(standing(&position, Some(&row), Version(7)), PushState::Sent);
}

proptest! {
    #[test]
    fn pages_of_several_nodes_hold_everybody_once(
        clients in proptest::collection::btree_set((0_u8..6, 0_u8..3, 0_u64..4), 0..40),
        limit in 1_u32..9,
    ) {
        let of_node = |node: u8| clients.iter().filter(move |client| client.1 == node).map(|(id, node, session)| seen(*id, *node, *session));
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let pages = (0..3).map(|node| Page::of(of_node(node), after.as_ref(), limit));
            let page = Page::merged(pages, limit);
            prop_assert_eq!(page.total, clients.len() as u64);
            prop_assert!(page.items.len() <= limit as usize);
            found.extend(page.items.iter().map(|client| client.place.clone()));
            after = page.items.last().map(|client| client.place.clone());
            if !page.more {
                break;
            }
        }
        let mut expected: Vec<Place> = (0..3).flat_map(of_node).map(|client| client.place).collect();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
