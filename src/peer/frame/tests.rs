//! Tests of frames on an encrypted connection, without one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use callboard_actors::peer_links::MAX_FRAME;
use proptest::prelude::{ProptestConfig, any, proptest};
use snow::{Builder, HandshakeState};

use crate::peer::frame::{FrameError, MAX_PLAIN, Opener, Sealer};

/// The two ends of a fresh connection: one seals, the other opens.
fn ends() -> (Sealer, Opener) {
    let builder = || Builder::new("Noise_NN_25519_ChaChaPoly_BLAKE2s".parse().unwrap());
    let (mut dialer, mut acceptor) = (builder().build_initiator().unwrap(), builder().build_responder().unwrap());
    let pass = |from: &mut HandshakeState, to: &mut HandshakeState| {
        let mut message = [0; 128];
        let length = from.write_message(&[], &mut message).unwrap();
        to.read_message(&message[..length], &mut []).unwrap();
    };
    pass(&mut dialer, &mut acceptor);
    pass(&mut acceptor, &mut dialer);
    let noise = |state: HandshakeState| Arc::new(state.into_stateless_transport_mode().unwrap());
    (Sealer::new(noise(dialer), 1), Opener::new(noise(acceptor), 1))
}

fn sealed(sealer: &mut Sealer, frames: &[Vec<u8>]) -> BytesMut {
    for frame in frames {
        sealer.add(frame).unwrap();
    }
    sealer.finish().unwrap();
    let bytes = BytesMut::from(sealer.sealed());
    sealer.clear();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_arrive_whole_and_in_order_however_the_bytes_are_cut(
        sizes in proptest::collection::vec(0_usize..140_000, 1..5),
        small in proptest::collection::vec(0_usize..40, 0..20),
        cuts in proptest::collection::vec(1_usize..70_000, 1..6),
    ) {
        let (mut sealer, mut opener) = ends();
        let sent: Vec<Vec<u8>> = sizes.iter().chain(&small).enumerate().map(|(at, size)| vec![at as u8; *size]).collect();
        let stream = sealed(&mut sealer, &sent);
        let (mut input, mut received, mut at) = (BytesMut::new(), Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let end = (at + cut).min(stream.len());
            input.extend_from_slice(&stream[at..end]);
            at = end;
            opener.open(&mut input, &mut received).unwrap();
            if at == stream.len() {
                break;
            }
        }
        assert!(input.is_empty());
        assert_eq!(received.len(), sent.len());
        assert!(received.iter().zip(&sent).all(|(got, sent)| got == sent));
    }

    #[test]
    fn a_changed_byte_is_noticed(at in any::<usize>(), change in 1..=255_u8) {
        let (mut sealer, mut opener) = ends();
        let mut stream = sealed(&mut sealer, &[vec![1; 100], vec![2; 100]]);
        let at = at % stream.len();
        stream[at] ^= change;
        let mut frames = Vec::new();
        // A length that was made larger waits for bytes that do not come, and is noticed when they do.
        let first = opener.open(&mut stream, &mut frames);
        stream.resize(stream.len() + 70_000, 0);
        assert!(first.is_err() || opener.open(&mut stream, &mut frames).is_err());
        assert!(frames.is_empty());
    }
}

#[test]
fn small_frames_share_a_packet_and_a_large_one_takes_several() {
    let (mut sealer, _) = ends();
    assert_eq!(sealed(&mut sealer, &[vec![0; 10], vec![0; 20]]).len(), 2 + 4 + 10 + 4 + 20 + 16);
    let large = sealed(&mut sealer, &[vec![0; MAX_PLAIN]]);
    assert_eq!(large.len(), MAX_PLAIN + 4 + 2 * (2 + 16));
}

#[test]
fn half_a_frame_is_no_frame() {
    let (mut sealer, mut opener) = ends();
    let mut stream = sealed(&mut sealer, &[vec![7; 100_000]]);
    let mut half = stream.split_to(80_000);
    let mut frames = Vec::new();
    opener.open(&mut half, &mut frames).unwrap();
    assert!(frames.is_empty());
    half.unsplit(stream);
    opener.open(&mut half, &mut frames).unwrap();
    assert_eq!(frames, [Bytes::from(vec![7; 100_000])]);
}

#[test]
fn the_longest_frame_passes_and_a_longer_one_does_not() {
    let (mut sealer, mut opener) = ends();
    let mut stream = sealed(&mut sealer, &[vec![3; MAX_FRAME]]);
    let mut frames = Vec::new();
    opener.open(&mut stream, &mut frames).unwrap();
    assert_eq!(frames.iter().map(Bytes::len).collect::<Vec<_>>(), [MAX_FRAME]);
    assert_eq!(sealer.add(&vec![3; MAX_FRAME + 1]), Err(FrameError::TooLong(MAX_FRAME + 1)));
    // A peer that claims one is found out by its length, before it has sent it.
    sealer.claim(u32::MAX);
    let mut claim = sealed(&mut sealer, &[]);
    assert!(matches!(opener.open(&mut claim, &mut frames), Err(FrameError::TooLong(_))));
}

#[test]
fn a_packet_is_not_taken_twice_nor_out_of_turn() {
    let (mut sealer, mut opener) = ends();
    let first = sealed(&mut sealer, &[vec![1]]);
    let second = sealed(&mut sealer, &[vec![2]]);
    let mut frames = Vec::new();
    assert_eq!(opener.open(&mut second.clone(), &mut frames), Err(FrameError::NotAuthentic));
    opener.open(&mut first.clone(), &mut frames).unwrap();
    assert_eq!(opener.open(&mut first.clone(), &mut frames), Err(FrameError::NotAuthentic));
    assert_eq!(opener.open(&mut BytesMut::from(&[0, 16, 0][..]), &mut frames), Err(FrameError::BadPacket(16)));
}
