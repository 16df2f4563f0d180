//! Frames on an encrypted connection. Frames, each after its length in four bytes, make one stream of bytes; the stream
//! is cut into Noise packets, each after its length in two bytes. So lengths of frames are authenticated like their
//! contents, small frames share a packet, and a large one takes several.
//!
//! Owns that form, its limits and the numbers of the packets. Pure: bytes in, bytes out; touches no socket.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use callboard_actors::peer_links::MAX_FRAME;
use snow::StatelessTransportState;

/// Longest packet, a limit of Noise.
const MAX_PACKET: usize = 65_535;
/// What authenticates a packet takes.
const TAG: usize = 16;
/// Most of the stream that one packet holds.
const MAX_PLAIN: usize = MAX_PACKET - TAG;
/// Room for sealed packets that is kept for the next ones.
const MAX_KEPT: usize = 512 * 1024;
/// Bytes of the length of a packet, and of a frame.
const PACKET_HEADER: usize = 2;
const FRAME_HEADER: usize = 4;

/// Why a connection can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// A packet is not from the peer, is changed, or out of turn.
    #[error("a packet is not authentic")]
    NotAuthentic,
    /// A packet holds nothing or has an impossible length.
    #[error("a packet of {0} bytes")]
    BadPacket(usize),
    /// A frame is too long.
    #[error("a frame of {0} bytes; at most {MAX_FRAME} are allowed")]
    TooLong(usize),
}

/// Turns frames into packets.
pub(super) struct Sealer {
    noise: Arc<StatelessTransportState>,
    next: u64,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl Sealer {
    /// Seals what this end sends; `next` is the number of the first packet.
    pub(super) fn new(noise: Arc<StatelessTransportState>, next: u64) -> Self {
        Self { noise, next, plain: Vec::new(), sealed: Vec::new() }
    }

    /// Adds a frame. Whole packets are sealed, the rest waits for more or for [`Sealer::finish`].
    ///
    /// # Errors
    /// [`FrameError`] when the frame is too long; nothing was added.
    pub(super) fn add(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        let length = u32::try_from(frame.len()).ok().filter(|_| frame.len() <= MAX_FRAME);
        let length = length.ok_or(FrameError::TooLong(frame.len()))?;
        self.append(&length.to_be_bytes())?;
        self.append(frame)
    }

    /// Seals what waits.
    ///
    /// # Errors
    /// [`FrameError`] never in practice: the numbers of packets do not run out.
    pub(super) fn finish(&mut self) -> Result<(), FrameError> {
        if self.plain.is_empty() { Ok(()) } else { self.seal() }
    }

    /// The packets so far.
    pub(super) fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// The packets so far are written. The room of a large frame is given back.
    pub(super) fn clear(&mut self) {
        self.sealed.clear();
        self.sealed.shrink_to(MAX_KEPT);
    }

    /// Claims a frame of this length, as no honest peer does.
    #[cfg(test)]
    pub(super) fn claim(&mut self, length: u32) {
        self.plain.extend_from_slice(&length.to_be_bytes());
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(MAX_PLAIN - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
            if self.plain.len() == MAX_PLAIN {
                self.seal()?;
            }
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), FrameError> {
        let length = self.plain.len() + TAG;
        let header = u16::try_from(length).map_err(|_too_long| FrameError::BadPacket(length))?;
        self.sealed.extend_from_slice(&header.to_be_bytes());
        let start = self.sealed.len();
        self.sealed.resize(start + length, 0);
        let into = self.sealed.get_mut(start..).unwrap_or_default();
        self.noise.write_message(self.next, &self.plain, into).map_err(|_exhausted| FrameError::NotAuthentic)?;
        self.next += 1;
        self.plain.clear();
        Ok(())
    }
}

/// Turns packets back into frames.
pub(super) struct Opener {
    noise: Arc<StatelessTransportState>,
    next: u64,
    plain: BytesMut,
}

impl Opener {
    /// Opens what the peer sends; `next` is the number of the first packet.
    pub(super) fn new(noise: Arc<StatelessTransportState>, next: u64) -> Self {
        Self { noise, next, plain: BytesMut::new() }
    }

    /// Takes the whole packets off `input` and adds the frames that are complete to `frames`. What is left of `input`
    /// is less than a packet.
    ///
    /// # Errors
    /// [`FrameError`]: the connection can't go on.
    pub(super) fn open(&mut self, input: &mut BytesMut, frames: &mut Vec<Bytes>) -> Result<(), FrameError> {
        while let Some(header) = input.first_chunk::<PACKET_HEADER>() {
            let length = usize::from(u16::from_be_bytes(*header));
            if length <= TAG {
                return Err(FrameError::BadPacket(length));
            }
            let Some(packet) = input.get(PACKET_HEADER..PACKET_HEADER + length) else { return Ok(()) };
            let start = self.plain.len();
            // As long as the packet: with less room the cipher would work in a copy of its own.
            self.plain.resize(start + length, 0);
            let into = self.plain.get_mut(start..).unwrap_or_default();
            let read = self.noise.read_message(self.next, packet, into);
            let read = read.map_err(|_any| FrameError::NotAuthentic)?;
            self.plain.truncate(start + read);
            self.next += 1;
            input.advance(PACKET_HEADER + length);
            self.split(frames)?;
        }
        Ok(())
    }

    fn split(&mut self, frames: &mut Vec<Bytes>) -> Result<(), FrameError> {
        while let Some(header) = self.plain.first_chunk::<FRAME_HEADER>() {
            // What does not fit is too long anyway.
            let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
            if length > MAX_FRAME {
                return Err(FrameError::TooLong(length));
            }
            if self.plain.len() < FRAME_HEADER + length {
                break;
            }
            self.plain.advance(FRAME_HEADER);
            frames.push(self.plain.split_to(length).freeze());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
