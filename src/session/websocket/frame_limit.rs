//! Looks at the lengths that the frames of a WebSocket announce (RFC 6455, section 5.2). The codec behind it takes in
//! all of a frame before it looks at the limit; this ends the stream at the announcement. Owns the place within the
//! frames, and changes nothing of what it lets through.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

use crate::api::memory::Reservation;

/// What a client sends, up to a message that is longer than it may be: [`PayloadError::Overflow`] then, and nothing
/// more.
pub(super) struct FrameLimit {
    payload: Payload,
    frames: Frames,
    has_ended: bool,
    counted: Rc<RefCell<Reservation>>,
}

impl FrameLimit {
    /// A first message of at most `first` bytes, and others of at most `limit`, counted as they come.
    pub(super) fn new(payload: Payload, (first, limit): (u64, u64), counted: Rc<RefCell<Reservation>>) -> Self {
        let frames = Frames { first, limit, messages: 0, head: Vec::new(), rest: 0, message: 0 };
        Self { payload, frames, has_ended: false, counted }
    }
}

impl Stream for FrameLimit {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut this.payload).poll_next(context)) {
            Some(Ok(bytes)) if !this.frames.follow(&bytes) => {
                this.has_ended = true;
                Poll::Ready(Some(Err(PayloadError::Overflow)))
            }
            Some(Ok(bytes)) => Poll::Ready(Some(match this.counted.borrow_mut().take(bytes.len()) {
                Ok(()) => Ok(bytes),
                Err(none) => {
                    this.has_ended = true;
                    Err(PayloadError::Io(io::Error::new(io::ErrorKind::OutOfMemory, none)))
                }
            })),
            other => Poll::Ready(other),
        }
    }
}

/// The place within the frames.
struct Frames {
    /// Longest first message: the hello.
    first: u64,
    /// Longest message of those that follow.
    limit: u64,
    /// Messages that have begun; those behind the second are not counted any more.
    messages: u8,
    /// The beginning of a frame, as far as it has come.
    head: Vec<u8>,
    /// Bytes that are left of the frame.
    rest: u64,
    /// Bytes of the message that the frame belongs to.
    message: u64,
}

impl Frames {
    /// Follows the next bytes; false when they begin a frame that makes a message too long.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((byte, behind)) = bytes.split_first() {
            if self.rest > 0 {
                let skipped = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get(skipped..).unwrap_or_default();
                self.rest -= skipped as u64;
                continue;
            }
            bytes = behind;
            self.head.push(*byte);
            if let Some((opcode, length)) = announced(&self.head) {
                self.head.clear();
                self.rest = length;
                let total = match opcode {
                    CONTINUATION => {
                        self.message = self.message.saturating_add(length);
                        self.message
                    }
                    TEXT | BINARY => {
                        self.messages = self.messages.saturating_add(1);
                        self.message = length;
                        length
                    }
                    // A control frame may stand between those of a message.
                    _ => length,
                };
                if total > if self.messages > 1 { self.limit } else { self.first } {
                    return false;
                }
            }
        }
        true
    }
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// The opcode and the length of a frame whose head is whole.
fn announced(head: &[u8]) -> Option<(u8, u64)> {
    let [first, second, rest @ ..] = head else { return None };
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    if rest.len() < extended + mask {
        return None;
    }
    let length = match extended {
        0 => u64::from(second & 0x7f),
        _ => rest.iter().take(extended).fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    Some((first & 0x0f, length))
}

#[cfg(test)]
mod tests {
    //! Announcements are seen however they arrive.

    use super::Frames;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match u16::try_from(length) {
            Ok(length) if length < 126 => frame.push(0x80 | u8::try_from(length).expect("it is short")),
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            Err(_longer) => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        // A payload that looks like announcements itself.
        frame.resize(frame.len() + length, 0xff);
        frame
    }

    /// Whether all of it is let through, in one piece and in pieces of any length.
    fn passes(limit: u64, frames: &[Vec<u8>]) -> bool {
        passes_after((limit, limit), frames)
    }

    /// The same, where the first may be as long as says `first`.
    fn passes_after((first, limit): (u64, u64), frames: &[Vec<u8>]) -> bool {
        let stream = frames.concat();
        let follow = |piece: usize| {
            let mut frames = Frames { first, limit, messages: 0, head: Vec::new(), rest: 0, message: 0 };
            stream.chunks(piece).all(|piece| frames.follow(piece))
        };
        let whole = follow(stream.len());
        for piece in 1..40 {
            assert_eq!(follow(piece), whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn messages_up_to_the_limit_pass_and_one_byte_more_does_not() {
        for limit in [5, 125, 126, 127, 1_000, 65_535, 65_536, 70_000] {
            let length = usize::try_from(limit).expect("it is small");
            assert!(passes(limit, &[frame(0x81, 3), frame(0x81, length), frame(0x82, length)]), "{limit}");
            assert!(!passes(limit, &[frame(0x81, 3), frame(0x81, length + 1)]), "{limit}");
        }
    }

    #[test]
    fn fragments_add_up_and_what_stands_between_them_does_not() {
        let ping = || frame(0x89, 100);
        assert!(passes(300, &[frame(0x01, 100), ping(), frame(0x00, 100), ping(), frame(0x80, 100), frame(0x81, 300)]));
        assert!(!passes(300, &[frame(0x01, 100), ping(), frame(0x00, 100), frame(0x80, 101)]));
    }

    #[test]
    fn the_first_message_may_be_less_long() {
        let limits = (10, 100);
        assert!(passes_after(limits, &[frame(0x89, 3), frame(0x81, 10), frame(0x81, 100)]));
        assert!(!passes_after(limits, &[frame(0x89, 3), frame(0x81, 11)]));
        assert!(!passes_after(limits, &[frame(0x81, 10), frame(0x81, 101)]));
        // In fragments it is the first to its end.
        assert!(passes_after(limits, &[frame(0x01, 5), frame(0x80, 5), frame(0x01, 50), frame(0x80, 50)]));
        assert!(!passes_after(limits, &[frame(0x01, 5), frame(0x80, 6)]));
    }

    #[test]
    fn the_longest_announcement_is_refused_at_its_head() {
        let head = [&[0x81, 0xff], &[0xff; 8][..], &MASK].concat();
        assert!(!passes(1 << 24, &[head]));
    }
}
