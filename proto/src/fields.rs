//! How many fields the messages within a message have, counted in its bytes: a list takes memory for each element,
//! however few bytes that has, and the count is known before any is taken. Keeps nothing, and knows no message.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Why the bytes are not to be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// They hold no message.
    Malformed,
    /// A message within has more fields than it may.
    TooMany,
}

impl From<DecodeError> for Unfit {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

/// Numbers of messages are below this.
const NUMBERS: usize = 32;

/// Counts the fields of the messages within `bytes`. `most` says how many each may have, by the number of the field
/// that it is, below [`NUMBERS`]; `None` for what is no message. Messages of one number are one in the end, and count
/// together.
pub(crate) fn check(mut bytes: &[u8], most: impl Fn(u32) -> Option<usize>) -> Result<(), Unfit> {
    let mut counts = [0_usize; NUMBERS];
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes)?;
        let most = most(number).filter(|_| wire_type == WireType::LengthDelimited);
        let fields = usize::try_from(number).ok().and_then(|number| counts.get_mut(number));
        let (Some(most), Some(fields)) = (most, fields) else {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default())?;
            continue;
        };
        let length = usize::try_from(decode_varint(&mut bytes)?).map_err(|_too_long| Unfit::Malformed)?;
        let (mut message, rest) = bytes.split_at_checked(length).ok_or(Unfit::Malformed)?;
        bytes = rest;
        while !message.is_empty() {
            *fields += 1;
            if *fields > most {
                return Err(Unfit::TooMany);
            }
            let (number, wire_type) = decode_key(&mut message)?;
            skip_field(wire_type, number, &mut message, DecodeContext::default())?;
        }
    }
    Ok(())
}
