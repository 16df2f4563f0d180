//! Frames: a message with its length in front of it, as a varint. Owns the splitting of a stream of bytes, however it
//! arrives: half a frame, several, or a byte at a time. Decoding is total; what is no frame is an error.

use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message as _;

use crate::fields::{self, Unfit};
use crate::session::Envelope;
use crate::{MAX_FRAME, MAX_HELD_AT_HELLO, MAX_ITEMS, MAX_KEYS, MAX_LABELS, MAX_NODES};

/// Bytes of the longest length that is allowed.
const MAX_HEAD: usize = 4;

/// Why bytes are no frame. The stream can't be read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than so many bytes, which it may have.
    #[error("a frame is longer than {0} bytes")]
    TooLong(usize),
    /// The frame holds no message.
    #[error("a frame holds no message")]
    Malformed,
    /// The frame holds a message with more elements than it may have.
    #[error("a message has more elements than it may have")]
    TooMany,
}

/// What the beginning of a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// Too little to tell.
    Unfinished,
    /// A length of so many bytes, and the bytes it announces.
    Length { head: usize, body: usize },
}

fn head(bytes: &[u8], most: usize) -> Result<Head, FrameError> {
    let mut body = 0_usize;
    for (place, byte) in bytes.iter().take(MAX_HEAD).enumerate() {
        body |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return if body > most {
                Err(FrameError::TooLong(most))
            } else {
                Ok(Head::Length { head: place + 1, body })
            };
        }
    }
    // Four bytes hold lengths up to 256 MiB: whatever needs more is too long.
    if bytes.len() >= MAX_HEAD { Err(FrameError::TooLong(most)) } else { Ok(Head::Unfinished) }
}

/// Takes the first frame off `buffer`, without its length; `None` when it is not there as a whole. The buffer then has
/// room for what is missing, as far as that is known. A frame may have `most` bytes, and never more than [`MAX_FRAME`].
///
/// # Errors
/// [`FrameError::TooLong`]; the buffer is left as it was.
pub fn split(buffer: &mut BytesMut, most: usize) -> Result<Option<Bytes>, FrameError> {
    let Head::Length { head, body } = head(buffer, most.min(MAX_FRAME))? else { return Ok(None) };
    let Some(missing) = (head + body).checked_sub(buffer.len()).filter(|missing| *missing > 0) else {
        buffer.advance(head);
        return Ok(Some(buffer.split_to(body).freeze()));
    };
    // Room grows with what has arrived: a length alone costs its sender nothing.
    buffer.reserve(missing.min(buffer.len().max(1_024)));
    Ok(None)
}

/// How long the first frame in `bytes` says that it is, its length included; `None` when that is not there, or too
/// long.
#[must_use]
pub fn announced(bytes: &[u8]) -> Option<usize> {
    match head(bytes, MAX_FRAME) {
        Ok(Head::Length { head, body }) => Some(head + body),
        Ok(Head::Unfinished) | Err(_) => None,
    }
}

/// Most fields of a message that has no list: more than any has.
const FEW: usize = 64;

/// Most fields of the message in the envelope that has this number there; `None` for a number that nobody knows.
fn most_fields(number: u32) -> Option<usize> {
    Some(match number {
        2 => MAX_HELD_AT_HELLO + MAX_LABELS + FEW,
        7 | 8 | 13 => MAX_KEYS,
        16 | 23 => MAX_NODES + FEW,
        18 => MAX_ITEMS + FEW,
        3..=6 | 9..=12 | 17 | 19..=22 | 24 => FEW,
        _ => return None,
    })
}

/// The message of a frame. Unknown fields and kinds are skipped. Its elements are counted before memory is taken.
///
/// # Errors
/// [`FrameError::Malformed`], [`FrameError::TooMany`].
pub fn decode(frame: Bytes) -> Result<Envelope, FrameError> {
    fields::check(&frame, most_fields).map_err(|unfit| match unfit {
        Unfit::Malformed => FrameError::Malformed,
        Unfit::TooMany => FrameError::TooMany,
    })?;
    Envelope::decode(frame).map_err(|_undecodable| FrameError::Malformed)
}

/// The frame of a message, its length in front.
///
/// # Errors
/// [`FrameError::TooLong`]; nothing is written.
pub fn encode(envelope: &Envelope) -> Result<Bytes, FrameError> {
    let length = envelope.encoded_len();
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(MAX_FRAME));
    }
    Ok(envelope.encode_length_delimited_to_vec().into())
}

#[cfg(test)]
mod tests;
