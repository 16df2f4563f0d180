//! Tests of the roster: each tells it what gossip and the rows say, and reads off states and events.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::lease::LeaseObservation;

const SECOND: Duration = Duration::from_secs(1);

fn node(name: &str) -> NodeId {
    NodeId(name.into())
}

fn address(port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::from(([10, 0, 0, 1], port)))
}

fn seen(name: &str, generation: u64, life: Life, status: Status) -> GossipObservation {
    GossipObservation {
        node: node(name),
        generation,
        life,
        status,
        addresses: Addresses { peer: address(1), http: address(2), grpc: None, session: None },
        version: "1.0".into(),
        protocols: ProtocolRange { min: 1, max: 1 },
    }
}

fn up(name: &str) -> GossipObservation {
    seen(name, 1, Life::Alive, Status::Up)
}

fn row(name: &str, life: u128) -> RowObservation {
    RowObservation {
        node: node(name),
        incarnation: Incarnation(Uuid::from_u128(life)),
        lease: LeaseObservation::Held,
        peer: address(11),
        http: address(12),
    }
}

struct Testbed {
    roster: MembershipView,
    now: Mono,
}

impl Testbed {
    fn new() -> Self {
        Self { roster: MembershipView::new(node("a"), Mono::default()), now: Mono::default() }
    }

    /// The events, as `up b`.
    fn tell(&mut self, notice: Notice) -> Vec<String> {
        let mut out = Vec::new();
        self.roster.step(self.now, notice, &mut out);
        out.iter().map(|event| format!("{} {}", event.as_str(), event.node())).collect()
    }

    fn gossip(&mut self, sightings: impl IntoIterator<Item = GossipObservation>) -> Vec<String> {
        let all = [up("a")].into_iter().chain(sightings).collect();
        self.tell(Notice::Gossip(all))
    }

    fn rows(&mut self, rows: impl IntoIterator<Item = RowObservation>) -> Vec<String> {
        self.tell(Notice::Rows(rows.into_iter().collect()))
    }

    fn wait(&mut self, time: Duration) -> Vec<String> {
        self.now = self.now.after(time);
        self.tell(Notice::Tick)
    }

    fn find(&self, name: &str) -> Option<NodeView> {
        self.roster.view().into_iter().find(|view| view.id == node(name))
    }

    fn state(&self, name: &str) -> Option<NodeState> {
        self.find(name).map(|view| view.state)
    }
}

#[test]
fn each_turn_of_a_node_is_told_once() {
    use Life::{Alive, Down, Suspect};
    use Status::{Joining, Leaving, Up};
    let mut testbed = Testbed::new();
    assert_eq!(testbed.gossip([]), ["up a"]);
    // What gossip says of b, what happened, and where b stands then.
    let table: [(Life, Status, &[&str], NodeState); 14] = [
        (Alive, Joining, &[], NodeState::Joining),
        (Alive, Up, &["up b"], NodeState::Up),
        (Alive, Up, &[], NodeState::Up),
        (Suspect, Up, &["suspect b"], NodeState::Suspect),
        (Alive, Up, &["up b"], NodeState::Up),
        (Suspect, Up, &["suspect b"], NodeState::Suspect),
        (Suspect, Up, &[], NodeState::Suspect),
        (Down, Up, &["down b"], NodeState::Down),
        (Alive, Joining, &[], NodeState::Joining),
        (Down, Joining, &["down b"], NodeState::Down),
        (Alive, Up, &["up b"], NodeState::Up),
        (Alive, Leaving, &["leaving b"], NodeState::Leaving),
        (Down, Leaving, &["removed b"], NodeState::Removed),
        (Alive, Up, &["up b"], NodeState::Up),
    ];
    for (index, (life, status, events, state)) in table.into_iter().enumerate() {
        let generation = index as u64;
        assert_eq!(testbed.gossip([seen("b", generation, life, status)]), events, "line {index}");
        assert_eq!(testbed.state("b"), Some(state), "line {index}");
        assert_eq!(testbed.find("b").unwrap().generation, Some(generation));
    }
}

#[test]
fn only_the_suspected_are_suspected_by_somebody() {
    let mut testbed = Testbed::new();
    testbed.gossip([seen("b", 1, Life::Suspect, Status::Up), up("c")]);
    assert_eq!(testbed.find("b").unwrap().suspected_by, [node("a")]);
    assert_eq!(testbed.find("c").unwrap().suspected_by, []);
}

#[test]
fn a_node_that_is_down_is_removed_with_its_row() {
    let mut testbed = Testbed::new();
    testbed.gossip([up("b")]);
    assert_eq!(testbed.rows([row("b", 1)]), [""; 0]);
    assert_eq!(testbed.gossip([seen("b", 1, Life::Down, Status::Up)]), ["down b"]);
    assert_eq!(testbed.wait(10 * REMOVE_AFTER), [""; 0], "the row keeps it");
    assert_eq!(testbed.rows([]), ["removed b"]);
}

#[test]
fn a_node_whose_row_went_first_is_down_and_removed_at_once() {
    let mut testbed = Testbed::new();
    testbed.gossip([up("b")]);
    testbed.rows([row("b", 1)]);
    assert_eq!(testbed.rows([]), [""; 0], "who answers is up, whatever the rows say");
    assert_eq!(testbed.gossip([seen("b", 1, Life::Down, Status::Up)]), ["down b", "removed b"]);
}

#[test]
fn a_node_without_a_row_is_removed_after_a_minute() {
    let mut testbed = Testbed::new();
    testbed.gossip([up("b")]);
    assert_eq!(testbed.gossip([seen("b", 1, Life::Down, Status::Up)]), ["down b"]);
    assert_eq!(testbed.wait(REMOVE_AFTER - SECOND), [""; 0]);
    assert_eq!(testbed.wait(SECOND), ["removed b"]);
}

#[test]
fn the_removed_are_forgotten_after_a_while_and_may_come_back_until_then_and_after() {
    let mut testbed = Testbed::new();
    testbed.gossip([up("b")]);
    let left = || [seen("b", 2, Life::Down, Status::Leaving)];
    assert_eq!(testbed.gossip(left()), ["removed b"]);
    assert_eq!(testbed.roster.peers(), BTreeMap::new());
    assert_eq!(testbed.wait(FORGET_AFTER - SECOND), [""; 0]);
    assert_eq!(testbed.state("b"), Some(NodeState::Removed));
    assert_eq!(testbed.wait(SECOND), [""; 0]);
    assert_eq!(testbed.state("b"), None);
    assert_eq!(testbed.gossip(left()), [""; 0], "old news of it is no news");
    assert_eq!(testbed.state("b"), None);
    assert_eq!(testbed.gossip([up("b")]), ["up b"]);
}

#[test]
fn who_left_is_removed_although_its_row_is_not_read_as_gone_yet() {
    let mut testbed = Testbed::new();
    testbed.gossip([up("b")]);
    testbed.rows([row("b", 1)]);
    assert_eq!(testbed.gossip([seen("b", 2, Life::Down, Status::Leaving)]), ["removed b"]);
    assert!(testbed.roster.peers().contains_key(&node("b")), "whoever has a row must be reached");
    assert_eq!(testbed.rows([row("b", 1)]), [""; 0]);
    assert_eq!(testbed.rows([]), [""; 0]);
    assert_eq!(testbed.roster.peers(), BTreeMap::new());
}

#[test]
fn a_later_life_of_one_that_left_is_seen_by_its_row() {
    let mut testbed = Testbed::new();
    testbed.gossip([up("b")]);
    testbed.rows([row("b", 1)]);
    testbed.gossip([seen("b", 2, Life::Down, Status::Leaving)]);
    assert_eq!(testbed.rows([row("b", 2)]), ["down b"]);
    assert_eq!(testbed.rows([row("b", 2)]), [""; 0]);
    assert_eq!(testbed.rows([]), ["removed b"]);
}

#[test]
fn a_row_without_gossip_is_down_until_heard() {
    let mut testbed = Testbed::new();
    testbed.gossip([]);
    assert_eq!(testbed.rows([row("b", 1)]), [""; 0]);
    let view = testbed.find("b").unwrap();
    assert_eq!((view.state, view.generation, view.version.clone()), (NodeState::Down, None, None));
    assert_eq!(view.addresses, row("b", 1).addresses());
    assert_eq!((view.incarnation, view.lease), (Some(row("b", 1).incarnation), Some(LeaseObservation::Held)));
    assert_eq!(testbed.gossip([up("b")]), ["up b"]);
    assert_eq!(testbed.find("b").unwrap().addresses, up("b").addresses, "gossip goes first");
}

#[test]
fn gossip_that_lost_its_state_makes_nobody_die_at_once() {
    let mut testbed = Testbed::new();
    testbed.gossip([up("b"), up("c")]);
    assert_eq!(testbed.gossip([]), [""; 0]);
    assert_eq!(testbed.wait(MISSING_AFTER - SECOND), [""; 0]);
    assert_eq!(testbed.gossip([up("c")]), [""; 0]);
    assert_eq!(testbed.wait(SECOND), ["down b"]);
    assert_eq!(testbed.wait(MISSING_AFTER), [""; 0]);
    assert_eq!(testbed.state("c"), Some(NodeState::Up));
}

#[test]
fn without_gossip_the_own_row_tells_where_the_node_stands() {
    let mut testbed = Testbed::new();
    assert_eq!(testbed.state("a"), Some(NodeState::Joining));
    assert_eq!(testbed.rows([row("a", 1)]), ["up a"]);
    assert_eq!(testbed.rows([]), [""; 0]);
    assert_eq!(testbed.state("a"), Some(NodeState::Joining));
    assert_eq!(testbed.roster.peers(), BTreeMap::new(), "the own node is no peer");
}

fn any_notice() -> impl Strategy<Value = Notice> {
    let names = prop_oneof![Just("a"), Just("b"), Just("c")];
    let lives = prop_oneof![Just(Life::Alive), Just(Life::Suspect), Just(Life::Down)];
    let statuses = prop_oneof![Just(Status::Joining), Just(Status::Up), Just(Status::Leaving)];
    let sighting = (names.clone(), 0..4_u64, lives, statuses)
        .prop_map(|(name, generation, life, status)| seen(name, generation, life, status));
    let rows = (names, 0..3_u128).prop_map(|(name, life)| row(name, life));
    prop_oneof![
        prop::collection::vec(sighting, 0..4).prop_map(Notice::Gossip),
        prop::collection::vec(rows, 0..4).prop_map(Notice::Rows),
        Just(Notice::Tick),
    ]
}

proptest! {
    /// Whoever follows the events knows the states: up, suspect, leaving, down and removed never differ from the view.
    #[test]
    fn invariant_events_and_view_agree(notices in prop::collection::vec((any_notice(), 0..90_u64), 1..60)) {
        let mut roster = MembershipView::new(node("a"), Mono::default());
        let mut now = Mono::default();
        let mut told: BTreeMap<NodeId, &'static str> = BTreeMap::new();
        for (notice, pause) in notices {
            now = now.after(Duration::from_secs(pause));
            let mut out = Vec::new();
            roster.step(now, notice, &mut out);
            for event in &out {
                let before = told.insert(event.node().clone(), event.as_str());
                prop_assert_ne!(before, Some(event.as_str()), "told twice in a row: {:?}", event);
            }
            let view = roster.view();
            // Nobody is told of joining, nor of being forgotten, nor of a row of one who was never heard of.
            told.retain(|id, _| view.iter().any(|view| view.id == *id && view.state != NodeState::Joining));
            for view in view {
                if let Some(told) = told.get(&view.id) {
                    prop_assert_eq!(*told, view.state.as_str());
                }
            }
        }
    }
}

#[test]
fn addresses_are_read_back_from_the_text_of_a_row_and_anything_else_is_left_out() {
    let addresses = Addresses {
        peer: Some("10.0.0.7:8851".parse().unwrap()),
        http: Some("[::1]:8848".parse().unwrap()),
        ..Addresses::default()
    };
    assert_eq!(addresses.to_text(), "peer=10.0.0.7:8851 http=[::1]:8848");
    assert_eq!(Addresses::parse(&addresses.to_text()), addresses);
    for other in ["", "127.0.0.1:8848", "peer=nowhere http=", "colour=red", "= =="] {
        assert_eq!(Addresses::parse(other), Addresses::default(), "{other}");
    }
}

#[test]
fn clients_are_sent_to_others_that_live() {
    let view = |id: &str, state, port: Option<u16>| NodeView {
        id: NodeId(id.into()),
        state,
        generation: None,
        incarnation: None,
        addresses: Addresses { http: port.map(|port| ([10, 0, 0, 1], port).into()), ..Addresses::default() },
        lease: None,
        suspected_by: Vec::new(),
        version: None,
        protocols: None,
    };
    let nodes = [
        view("me", NodeState::Up, Some(1)),
        view("a", NodeState::Up, Some(2)),
        view("b", NodeState::Leaving, Some(3)),
        view("c", NodeState::Suspect, Some(4)),
        view("d", NodeState::Down, Some(5)),
        view("e", NodeState::Up, None),
    ];
    let me = NodeId("me".into());
    assert_eq!(elsewhere(&nodes, &me).map(|seen| &*seen.id.0).collect::<Vec<_>>(), ["a", "c", "e"]);
}

/// `name` as gossip sees it at the address that ends in this port.
fn seen_at(port: u16, name: &str, generation: u64, life: Life, status: Status) -> GossipObservation {
    let addresses = Addresses { peer: address(port), http: address(2), grpc: None, session: None };
    GossipObservation { addresses, ..seen(name, generation, life, status) }
}

#[test]
fn a_second_process_under_an_id_that_is_gone_again_leaves_no_trace() {
    let mut testbed = Testbed::new();
    let first = || seen_at(11, "b", 5, Life::Alive, Status::Up);
    let second = |life| seen_at(7, "b", 9, life, Status::Joining);
    testbed.gossip([first()]);
    testbed.rows([row("b", 1)]);
    assert_eq!(testbed.gossip([first(), second(Life::Alive)]), [""; 0], "the row tells which of them is the node");
    assert_eq!(testbed.roster.peers(), [(node("b"), address(11).unwrap())].into());
    for life in [Life::Suspect, Life::Down] {
        assert_eq!(testbed.gossip([first(), second(life)]), [""; 0]);
        assert_eq!(testbed.roster.peers(), [(node("b"), address(11).unwrap())].into());
    }
    assert_eq!(testbed.rows([]), [""; 0], "who lives is up without a row as well");
    assert_eq!((testbed.state("b"), testbed.find("b").unwrap().generation), (Some(NodeState::Up), Some(5)));
}

#[test]
fn a_row_that_is_read_later_tells_which_of_two_is_the_node() {
    let mut testbed = Testbed::new();
    let second = seen_at(7, "b", 9, Life::Alive, Status::Joining);
    testbed.gossip([seen_at(11, "b", 5, Life::Alive, Status::Up), second]);
    assert_eq!(testbed.roster.peers(), [(node("b"), address(7).unwrap())].into());
    assert_eq!(testbed.rows([row("b", 1)]), ["up b"]);
    assert_eq!(testbed.roster.peers(), [(node("b"), address(11).unwrap())].into());
}

#[test]
fn a_node_that_moved_with_its_clock_behind_is_seen() {
    let mut testbed = Testbed::new();
    testbed.rows([row("b", 1)]);
    testbed.gossip([seen_at(11, "b", 9, Life::Alive, Status::Up)]);
    let here = || seen_at(7, "b", 5, Life::Alive, Status::Up);
    assert_eq!(testbed.gossip([seen_at(11, "b", 9, Life::Suspect, Status::Up), here()]), [""; 0]);
    for status in [Status::Up, Status::Leaving] {
        assert_eq!(testbed.gossip([here(), seen_at(11, "b", 9, Life::Down, status)]), [""; 0]);
        assert_eq!((testbed.state("b"), testbed.find("b").unwrap().generation), (Some(NodeState::Up), Some(5)));
        assert_eq!(testbed.roster.peers(), [(node("b"), address(7).unwrap())].into(), "although the row is an old one");
    }
    // Of those that are gone the latest counts.
    let gone = seen_at(7, "b", 5, Life::Down, Status::Up);
    assert_eq!(testbed.gossip([gone, seen_at(11, "b", 9, Life::Down, Status::Leaving)]), ["removed b"]);
}
