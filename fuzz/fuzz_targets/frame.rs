//! A stream of arbitrary bytes, arriving in arbitrary pieces: what is split off it does not depend on the pieces, and
//! no frame makes the decoder panic. The first byte says how many of the next ones are lengths of pieces.

#![no_main]

use bytes::{Bytes, BytesMut};
use callboard_proto::MAX_FRAME;
use callboard_proto::frame::{FrameError, decode, split};
use libfuzzer_sys::fuzz_target;

/// Everything that can be split off, and why nothing more can be.
fn take(buffer: &mut BytesMut, frames: &mut Vec<Bytes>) -> Result<(), FrameError> {
    while let Some(frame) = split(buffer, MAX_FRAME)? {
        frames.push(frame);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let (pieces, stream) = rest.split_at(usize::from(*count).min(rest.len()));

    let mut whole = Vec::new();
    let mut buffer = BytesMut::from(stream);
    let ended = take(&mut buffer, &mut whole);

    let (mut frames, mut buffer, mut unread) = (Vec::new(), BytesMut::new(), stream);
    let mut ended_in_pieces = Ok(());
    for length in pieces.iter().copied().map(usize::from).chain([usize::MAX]) {
        let (piece, behind) = unread.split_at(length.min(unread.len()));
        unread = behind;
        buffer.extend_from_slice(piece);
        ended_in_pieces = take(&mut buffer, &mut frames);
        if ended_in_pieces.is_err() {
            break;
        }
    }
    assert_eq!(frames, whole);
    assert_eq!(ended_in_pieces, ended);
    for frame in frames {
        // Refused or taken; either is an answer.
        drop(decode(frame));
    }
});
