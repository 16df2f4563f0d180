//! Frames: a message with its length in front of it, as a varint. Owns the splitting of a stream of bytes, however it
//! arrives: half a frame, several, or a byte at a time. Decoding is total; what is no frame is an error.

use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message as _;

use crate::MAX_FRAME;
use crate::session::Envelope;

/// Bytes of the longest length that is allowed.
const MAX_HEAD: usize = 4;

/// Why bytes are no frame. The stream can't be read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame says that it is longer than [`MAX_FRAME`].
    #[error("a frame is longer than {MAX_FRAME} bytes")]
    TooLong,
    /// The frame holds no message.
    #[error("a frame holds no message")]
    Malformed,
}

/// What the beginning of a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// Too little to tell.
    Unfinished,
    /// A length of so many bytes, and the bytes it announces.
    Length { head: usize, body: usize },
}

fn head(bytes: &[u8]) -> Result<Head, FrameError> {
    let mut body = 0_usize;
    for (place, byte) in bytes.iter().take(MAX_HEAD).enumerate() {
        body |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return if body > MAX_FRAME {
                Err(FrameError::TooLong)
            } else {
                Ok(Head::Length { head: place + 1, body })
            };
        }
    }
    // Four bytes hold lengths up to 256 MiB: whatever needs more is too long.
    if bytes.len() >= MAX_HEAD { Err(FrameError::TooLong) } else { Ok(Head::Unfinished) }
}

/// Takes the first frame off `buffer`, without its length; `None` when it is not there as a whole. The buffer then has
/// room for what is missing, as far as that is known.
///
/// # Errors
/// [`FrameError::TooLong`]; the buffer is left as it was.
pub fn split(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Head::Length { head, body } = head(buffer)? else { return Ok(None) };
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
    match head(bytes) {
        Ok(Head::Length { head, body }) => Some(head + body),
        Ok(Head::Unfinished) | Err(_) => None,
    }
}

/// The message of a frame. Unknown fields and kinds are skipped.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode(frame: Bytes) -> Result<Envelope, FrameError> {
    Envelope::decode(frame).map_err(|_undecodable| FrameError::Malformed)
}

/// The frame of a message, its length in front.
///
/// # Errors
/// [`FrameError::TooLong`]; nothing is written.
pub fn encode(envelope: &Envelope) -> Result<Bytes, FrameError> {
    let length = envelope.encoded_len();
    if length > MAX_FRAME {
        return Err(FrameError::TooLong);
    }
    Ok(envelope.encode_length_delimited_to_vec().into())
}

#[cfg(test)]
mod tests;
