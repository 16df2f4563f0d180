//! How gossip is written into a datagram: the parts that foca hands over, in the project's binary form. Refuses
//! whatever exceeds the limits of an identity, so that what comes in is sound.

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message};
use serde::Serialize;

use super::identity::Identity;
use crate::codec::{CodecError, decode_part, encode_part};

/// Why a part could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// It is no such part.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It does not fit the rest of the datagram. Nothing was written.
    #[error("the datagram is full")]
    Full,
    /// It names a node that is none, or tells more than a node may.
    #[error("an identity is not sound")]
    Unsound,
}

/// The form of the parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire;

impl foca::Codec<Identity> for Wire {
    type Error = WireError;

    fn encode_header(&mut self, header: &Header<Identity>, buffer: impl BufMut) -> Result<(), WireError> {
        encode(header, buffer)
    }

    fn decode_header(&mut self, mut buffer: impl Buf) -> Result<Header<Identity>, WireError> {
        let (header, read) = decode_part::<Header<Identity>>(buffer.chunk())?;
        buffer.advance(read);
        // Only an announcement may be for whoever receives it, and nobody speaks without a name.
        let is_announced = header.message == Message::Announce;
        let is_sound = is_named(&header.src)
            && (is_named(&header.dst) || (is_announced && header.dst.is_sound()))
            && subject(&header.message).is_none_or(is_named);
        if is_sound { Ok(header) } else { Err(WireError::Unsound) }
    }

    fn encode_member(&mut self, member: &Member<Identity>, buffer: impl BufMut) -> Result<(), WireError> {
        encode(member, buffer)
    }

    fn decode_member(&mut self, mut buffer: impl Buf) -> Result<Member<Identity>, WireError> {
        let (member, read) = decode_part::<Member<Identity>>(buffer.chunk())?;
        buffer.advance(read);
        if is_named(member.id()) { Ok(member) } else { Err(WireError::Unsound) }
    }
}

fn encode(part: &impl Serialize, mut buffer: impl BufMut) -> Result<(), WireError> {
    let bytes = encode_part(part)?;
    if buffer.remaining_mut() < bytes.len() {
        return Err(WireError::Full);
    }
    buffer.put_slice(&bytes);
    Ok(())
}

fn is_named(identity: &Identity) -> bool {
    !identity.is_whoever() && identity.is_sound()
}

/// The third node that a message is about.
fn subject(message: &Message<Identity>) -> Option<&Identity> {
    match message {
        Message::PingReq { target, .. } | Message::IndirectAck { target, .. } => Some(target),
        Message::IndirectPing { origin, .. } | Message::ForwardedAck { origin, .. } => Some(origin),
        Message::Ping(_)
        | Message::Ack(_)
        | Message::Announce
        | Message::Feed
        | Message::Gossip
        | Message::Broadcast
        | Message::TurnUndead => None,
    }
}
