//! The codec of Nacos's messages, with small buffers: most messages are short, and a stream on which nothing is said
//! keeps its buffers for as long as it is open. What a message holds is counted before memory is taken for it.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use crate::fields::{self, Unfit};

/// What a stream keeps at first for each direction, in bytes.
const BUFFER: usize = 256;
/// What is written before others have their turn, in bytes.
const YIELD_AFTER: usize = 32 * 1024;

/// Most fields of what stands around a body: the class, the address, and the headers.
const MAX_METADATA: usize = 1_000;
/// Most fields of a body: its bytes, and what type they are of.
const MAX_BODY: usize = 64;

/// Most fields of the message in the payload that has this number there; `None` for a number that nobody knows.
fn most_fields(number: u32) -> Option<usize> {
    match number {
        2 => Some(MAX_METADATA),
        3 => Some(MAX_BODY),
        _ => None,
    }
}

/// Decodes messages whose elements are as few as they may be.
#[derive(Debug)]
pub struct BoundedDecoder<D>(D);

impl<D: Decoder<Error = Status>> Decoder for BoundedDecoder<D> {
    type Item = D::Item;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // A message is in one piece.
        check(message.chunk().get(..message.remaining()).unwrap_or_default())?;
        self.0.decode(message)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Whether a payload has as few elements as it may have: what is looked at before one is decoded.
///
/// # Errors
/// It has more, or is no message.
pub fn check(message: &[u8]) -> Result<(), Status> {
    fields::check(message, most_fields).map_err(|unfit| match unfit {
        Unfit::Malformed => Status::internal("it is no message"),
        Unfit::TooMany => Status::resource_exhausted("a message has more elements than it may have"),
    })
}

/// A codec of protobuf messages.
#[derive(Debug, Clone)]
pub struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = BoundedDecoder<<ProstCodec<T, U> as Codec>::Decoder>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, YIELD_AFTER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, YIELD_AFTER)))
    }
}

#[cfg(test)]
mod tests {
    //! What a message holds is counted before it is decoded.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use prost::Message as _;
    use prost_types::Any;
    use tonic::Code;

    use super::{MAX_METADATA, check};
    use crate::nacos::{Metadata, Payload};

    fn payload(headers: usize) -> Vec<u8> {
        let headers = (0..headers).map(|number| (number.to_string(), String::new())).collect();
        let metadata = Metadata { r#type: "X".to_owned(), headers, client_ip: String::new() };
        let body = Any { type_url: String::new(), value: vec![0; 100_000] };
        Payload { metadata: Some(metadata), body: Some(body) }.encode_to_vec()
    }

    #[test]
    fn headers_are_counted_before_they_are_kept() {
        // The class is a field as well.
        check(&payload(MAX_METADATA - 1)).unwrap();
        let refused = check(&payload(MAX_METADATA)).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        // A body that breaks off.
        assert_eq!(check(&[0x1a, 5, 1]).unwrap_err().code(), Code::Internal);
    }
}
