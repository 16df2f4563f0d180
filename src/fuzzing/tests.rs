//! Every seed of every target goes through: what a target checks holds for what it begins with. Long runs are those of
//! `scripts/fuzz`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use callboard_proto::{MAX_FRAME, frame, json};

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let seeds: Vec<_> = fs::read_dir(directory).unwrap().map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

#[test]
fn the_seeds_of_every_target_go_through() {
    for seed in seeds("http") {
        super::http(&seed[1..], usize::from(seed[0]));
    }
    for seed in seeds("form") {
        let (query, body) = seed[2..].split_at(usize::from(seed[1]).min(seed.len() - 2));
        super::form(&String::from_utf8_lossy(query), seed[0] % 2 == 1, body);
    }
    for seed in seeds("frame") {
        let mut stream = BytesMut::from(&seed[1 + usize::from(seed[0])..]);
        while let Ok(Some(frame)) = frame::split(&mut stream, MAX_FRAME) {
            drop(frame::decode(frame));
        }
    }
    for seed in seeds("envelope") {
        let Ok(envelope) = frame::decode(seed.into()) else { continue };
        assert_eq!(json::decode(&json::encode(&envelope).unwrap()).as_ref(), Ok(&envelope));
    }
    for seed in seeds("json") {
        let Ok(envelope) = json::decode(std::str::from_utf8(&seed).unwrap()) else { continue };
        let mut stream = BytesMut::from(&frame::encode(&envelope).unwrap()[..]);
        assert_eq!(frame::decode(frame::split(&mut stream, MAX_FRAME).unwrap().unwrap()).as_ref(), Ok(&envelope));
    }
    for seed in seeds("token") {
        super::token(&String::from_utf8(seed).unwrap());
    }
    for seed in seeds("payload") {
        super::payload_body("ConfigBatchListenRequest", &seed, "127.0.0.1");
    }
    for seed in seeds("certificate") {
        super::certificate(&seed);
    }
    for seed in seeds("handshake") {
        super::handshake(&seed);
    }
    for seed in seeds("datagram") {
        super::datagram(&seed);
    }
    for seed in seeds("peer_message") {
        super::peer_message(&seed[1..], u16::from(seed[0]));
    }
}
