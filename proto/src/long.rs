//! What stands before a long content in a message, so that the content can be sent from where it is: nobody has to copy
//! it into a message first. Owns the fields around it; never sees the content.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::MAX_FRAME;
use crate::frame::FrameError;
use crate::session::{Config, Envelope};

/// The field `config` of an envelope.
const CONFIG: u32 = 17;
/// The field `content` of a configuration.
const CONTENT: u32 = 6;

/// How long a field is that holds so many bytes.
fn field_len(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64) + length
}

/// The beginning of a field that holds so many bytes.
fn begin(field: u32, length: usize, out: &mut BytesMut) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// The frame of an answer to the request `id`, up to its content, which has so many bytes and ends it. `config` holds
/// none.
///
/// # Errors
/// [`FrameError::TooLong`].
pub fn config(id: u64, config: &Config, content: usize) -> Result<Bytes, FrameError> {
    let before = Envelope { id, kind: None }.encode_to_vec();
    let fields = config.encode_to_vec();
    let message = fields.len() + field_len(CONTENT, content);
    let frame = before.len() + field_len(CONFIG, message);
    if frame > MAX_FRAME {
        return Err(FrameError::TooLong(MAX_FRAME));
    }
    let mut head = BytesMut::new();
    encode_varint(frame as u64, &mut head);
    head.put_slice(&before);
    begin(CONFIG, message, &mut head);
    head.put_slice(&fields);
    begin(CONTENT, content, &mut head);
    Ok(head.freeze())
}

/// A message of gRPC that is an answer of this class to a client of Nacos, up to its body, which has so many bytes and
/// ends it.
#[cfg(feature = "nacos")]
#[must_use]
pub fn payload(class: &str, body: usize) -> Bytes {
    use crate::nacos::{Metadata, Payload};

    const BODY: u32 = 3;
    const VALUE: u32 = 2;
    let metadata = Metadata { r#type: class.to_owned(), ..Metadata::default() };
    let before = Payload { metadata: Some(metadata), body: None }.encode_to_vec();
    let value = field_len(VALUE, body);
    let message = before.len() + field_len(BODY, value);
    let mut head = BytesMut::new();
    // Not compressed.
    head.put_u8(0);
    head.put_u32(u32::try_from(message).unwrap_or(u32::MAX));
    head.put_slice(&before);
    begin(BODY, value, &mut head);
    begin(VALUE, body, &mut head);
    head.freeze()
}

#[cfg(test)]
mod tests {
    //! With the content behind it, it is what the library writes, or what the library reads as the same.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::config;
    use crate::session::envelope::Kind;
    use crate::session::{Config, Envelope, Key};
    use crate::{MAX_FRAME, frame};

    proptest! {
        #[test]
        fn a_configuration_is_read_as_meant(id in 0..u64::MAX, version in 0..u64::MAX, length in 0_usize..99_999) {
            let key = Key { namespace: "n".to_owned(), group: "g".to_owned(), data_id: "d".to_owned() };
            let fields = Config { key: Some(key), version, exists: true, md5: "m".to_owned(), ..Config::default() };
            let content = "ä".repeat(length / 2);
            let mut sent = BytesMut::from(&config(id, &fields, content.len()).unwrap()[..]);
            sent.extend_from_slice(content.as_bytes());
            let read = frame::decode(frame::split(&mut sent, MAX_FRAME).unwrap().unwrap()).unwrap();
            prop_assert_eq!(read, Envelope { id, kind: Some(Kind::Config(Config { content, ..fields })) });
            prop_assert!(sent.is_empty());
        }
    }

    #[cfg(feature = "nacos")]
    #[test]
    fn an_answer_to_a_client_of_nacos_is_what_the_library_writes() {
        use prost::Message as _;
        use prost_types::Any;

        use crate::nacos::{Metadata, Payload};

        for length in [0_usize, 1, 127, 128, 20_000] {
            let value = vec![b'x'; length];
            let metadata = Metadata { r#type: "ConfigQueryResponse".to_owned(), ..Metadata::default() };
            let body = Any { type_url: String::new(), value: value.clone() };
            let message = Payload { metadata: Some(metadata), body: Some(body) }.encode_to_vec();
            let sent = [&super::payload("ConfigQueryResponse", length)[..], &value].concat();
            let read = Payload::decode(&sent[5..]).unwrap();
            assert_eq!(read, Payload::decode(&message[..]).unwrap());
            assert_eq!(sent[..5], [&[0][..], &u32::try_from(sent.len() - 5).unwrap().to_be_bytes()].concat());
            // A field of nothing need not be written.
            assert!(length == 0 || sent[5..] == message);
        }
    }
}
