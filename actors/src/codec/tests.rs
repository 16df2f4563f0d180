//! Whatever the bytes are, decoding ends with a value or an error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use callboard_protocol::config::Version;
use callboard_protocol::content::Md5;
use callboard_protocol::write_request::{Effect, Fingerprint, KeyOutcome, Recorded};
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};

use super::{CodecError, decode, encode};

fn recorded() -> impl Strategy<Value = Recorded> {
    let effect = proptest::sample::select(vec![Effect::Created, Effect::Updated, Effect::Unchanged, Effect::Removed]);
    let item = (any::<u64>(), any::<Option<[u8; 16]>>(), effect).prop_map(|(version, md5, effect)| KeyOutcome {
        version: Version(version),
        md5: md5.map(Md5),
        effect,
    });
    (any::<[u8; 16]>(), proptest::collection::vec(item, 0..8))
        .prop_map(|(digest, items)| Recorded { fingerprint: Fingerprint(Md5(digest)), items })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_decode_to_a_value_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
        if known && let Some(first) = bytes.first_mut() {
            *first = super::FORM;
        }
        if let Ok(value) = decode::<Recorded>(&bytes) {
            assert_eq!(decode::<Recorded>(&encode(&value).unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(value in recorded(), cut in 0..64_usize) {
        let bytes = encode(&value).unwrap();
        assert_eq!(decode::<Recorded>(&bytes).unwrap(), value);
        let shorter = bytes.get(..bytes.len().saturating_sub(cut + 1)).unwrap();
        assert!(decode::<Recorded>(shorter).is_err());
    }
}

#[test]
fn another_form_and_trailing_bytes_are_refused() {
    assert_eq!(decode::<u8>(&[]), Err(CodecError::Empty));
    assert_eq!(decode::<u8>(&[9, 1]), Err(CodecError::UnknownForm(9)));
    let mut bytes = encode(&7_u8).unwrap();
    bytes.push(0);
    assert_eq!(decode::<u8>(&bytes), Err(CodecError::Decode));
}
