//! Tests of what may come in: whatever the bytes, nothing panics, and what exceeds a limit is refused.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::membership_view::{Life, Status, foremost};
use callboard_protocol::time::Mono;
use foca::{Codec as _, Header, Member, Message, State};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::super::engine::{Engine, Refused};
use super::super::identity::{Identity, MAX_NODE_ID, MAX_VERSION};
use super::super::wire::Wire;
use super::super::{MAX_DATAGRAM, timers::Timers};
use super::testbed::{address, identity, name};
use crate::codec::encode_part;

const NOW: Mono = Mono(Duration::from_secs(1));

fn engine(index: usize) -> Engine {
    Engine::new(identity(index, 1_700_000_000_000), StdRng::seed_from_u64(index as u64))
}

/// What two nodes say to each other for a while.
fn conversation() -> (Engine, Vec<Bytes>) {
    let (mut one, mut other) = (engine(0), engine(1));
    one.set_seeds(NOW, vec![address(1)]);
    let mut said = Vec::new();
    let mut now = NOW;
    for _ in 0..200 {
        now = now.after(Duration::from_millis(20));
        for (_, bytes) in one.take_sends() {
            other.datagram(now, &bytes).unwrap();
        }
        for (_, bytes) in other.take_sends() {
            one.datagram(now, &bytes).unwrap();
            said.push(bytes);
        }
        one.tick(now);
        other.tick(now);
    }
    assert_eq!((one.members(), other.members()), (1, 1));
    assert!(said.len() > 5);
    (one, said)
}

fn header(src: Identity, dst: Identity, message: Message<Identity>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { src, src_incarnation: 0, dst, message };
    Wire.encode_header(&header, &mut bytes).unwrap();
    bytes
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..MAX_DATAGRAM + 50)) {
        let mut engine = engine(0);
        prop_assert_eq!(engine.datagram(NOW, &bytes), Err(Refused::Malformed));
        prop_assert_eq!(engine.sightings().len(), 1);
        prop_assert!(Wire.decode_header(bytes.as_slice()).is_err());
        // A member may be found in any bytes; what is found is sound.
        if let Ok(member) = Wire.decode_member(bytes.as_slice()) {
            prop_assert!(member.id().is_sound() && !member.id().is_whoever());
        }
    }

    #[test]
    fn damaged_datagrams_are_survived(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut engine, said) = conversation();
        let mut bytes = which.get(&said).to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        // Part of it may make sense.
        prop_assert_ne!(engine.datagram(NOW, &bytes), Err(Refused::Crowded));
        for step in 0..100 {
            engine.tick(NOW.after(Duration::from_millis(100 * step)));
        }
    }
}

#[test]
fn the_own_words_are_no_news() {
    let mut engine = engine(0);
    engine.set_seeds(NOW, vec![address(1)]);
    for (_, bytes) in engine.take_sends() {
        assert_eq!(engine.datagram(NOW, &bytes), Ok(()));
    }
    assert_eq!(engine.members(), 0);
}

#[test]
fn an_identity_stays_small_and_the_largest_ones_fit() {
    let usual = encode_part(&identity(0, 1_700_000_000_000)).unwrap();
    assert!(usual.len() <= 100, "{} bytes", usual.len());
    let v6: SocketAddr = "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
    let largest = Identity {
        node: callboard_protocol::member::NodeId("n".repeat(MAX_NODE_ID).into()),
        generation: u64::MAX,
        peer: v6,
        http: v6,
        grpc: Some(v6),
        session: Some(v6),
        version: "v".repeat(MAX_VERSION).into(),
        ..identity(0, 1)
    };
    let target = largest.with(Status::Leaving, u64::MAX);
    let bytes = header(largest.clone(), largest.clone(), Message::PingReq { target, probe_number: u8::MAX });
    let member = encode_part(&Member::new(largest, u16::MAX, State::Alive)).unwrap();
    assert!(bytes.len() + member.len() + 2 <= MAX_DATAGRAM, "{} and {} bytes", bytes.len(), member.len());
    assert!(Wire.decode_header(bytes.as_slice()).is_ok());
}

#[test]
fn what_a_node_may_not_tell_is_refused() {
    let good = || identity(1, 5);
    let whoever = || Identity::whoever(address(0));
    let long_name = Identity { node: callboard_protocol::member::NodeId("n".repeat(129).into()), ..good() };
    let control = Identity { node: callboard_protocol::member::NodeId("a\nb".into()), ..good() };
    let long_version = Identity { version: "v".repeat(33).into(), ..good() };
    let odd_version = Identity { version: "1.0 beta".into(), ..good() };
    let pings = |src, dst| header(src, dst, Message::Ping(1));
    assert!(Wire.decode_header(header(good(), whoever(), Message::Announce).as_slice()).is_ok());
    assert!(Wire.decode_header(pings(good(), good()).as_slice()).is_ok());
    for bad in [whoever(), long_name, control, long_version, odd_version] {
        assert!(Wire.decode_header(pings(bad.clone(), good()).as_slice()).is_err(), "from {bad:?}");
        assert!(Wire.decode_header(pings(good(), bad.clone()).as_slice()).is_err(), "to {bad:?}");
        let about = Message::IndirectPing { origin: bad.clone(), probe_number: 1 };
        assert!(Wire.decode_header(header(good(), good(), about).as_slice()).is_err(), "about {bad:?}");
        let bytes = encode_part(&Member::alive(bad.clone())).unwrap();
        assert!(Wire.decode_member(bytes.as_slice()).is_err(), "tells of {bad:?}");
    }
}

#[test]
fn a_crowded_node_listens_to_known_ones_only() {
    let mut engine = engine(0);
    let announce = |index: usize| {
        let port = u16::try_from(index).unwrap() + 2_000;
        let peer = SocketAddr::from(([10, 1, 1, 1], port));
        let node = callboard_protocol::member::NodeId(format!("node-{index}").into());
        header(Identity { peer, node, ..identity(1, 5) }, Identity::whoever(address(0)), Message::Announce)
    };
    let mut accepted = 0;
    while engine.datagram(NOW, &announce(accepted)).is_ok() {
        accepted += 1;
        assert!(accepted <= 1_024);
    }
    assert_eq!(engine.datagram(NOW, &announce(accepted)), Err(Refused::Crowded));
    assert_eq!(engine.datagram(NOW, &announce(0)), Ok(()));
    assert_eq!(engine.members(), 1_024);
    // An answer holds as many of them as a datagram takes.
    assert!(engine.take_sends().iter().all(|(_, bytes)| bytes.len() <= MAX_DATAGRAM));
}

#[test]
fn of_two_words_of_a_node_the_later_counts_wherever_it_came_from() {
    let mut engine = engine(0);
    let says = |generation, port| {
        let peer = SocketAddr::from(([10, 1, 1, 1], port));
        header(Identity { peer, ..identity(1, generation) }, Identity::whoever(address(0)), Message::Announce)
    };
    engine.datagram(NOW, &says(7, 2_001)).unwrap();
    engine.datagram(NOW, &says(6, 2_000)).unwrap();
    let sightings: Vec<_> = engine.sightings().into_iter().filter(|seen| seen.node == name(1)).collect();
    assert_eq!(sightings.len(), 2, "one for each address");
    let seen = foremost(&sightings, None).unwrap();
    assert_eq!((seen.generation, seen.life, seen.addresses.peer.unwrap().port()), (7, Life::Alive, 2_001));
}

#[test]
fn timers_come_in_order_and_move_with_a_pause() {
    let at = |millis| Mono(Duration::from_millis(millis));
    let mut timers = Timers::new();
    for (due, timer) in [(300, 'c'), (100, 'a'), (100, 'b')] {
        timers.add(at(due), timer);
    }
    timers.mend_pause(at(150));
    assert_eq!(
        (timers.take_due(at(150)), timers.take_due(at(150)), timers.take_due(at(150))),
        (Some('a'), Some('b'), None)
    );
    timers.add(at(500), 'd');
    timers.mend_pause(at(5_300));
    assert_eq!(timers.next_due(), Some(at(5_300)));
    assert_eq!((timers.take_due(at(5_300)), timers.take_due(at(5_300))), (Some('c'), None));
    assert_eq!(timers.next_due(), Some(at(5_500)));
}
