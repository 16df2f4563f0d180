//! Contents and digests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

#[test]
fn digest_of_a_known_text() {
    assert_eq!(Md5::of(b"hello").hex(), "5d41402abc4b2a76b9719d911017c592");
}

#[test]
fn rules_of_content() {
    assert_eq!(Content::new(Bytes::new()).unwrap_err(), ContentError::Blank);
    assert_eq!(Content::new(Bytes::from_static(b" \n\t ")).unwrap_err(), ContentError::Blank);
    assert_eq!(Content::new(Bytes::from_static(b"ab\xff")).unwrap_err(), ContentError::NotUtf8 { offset: 2 });
    assert_eq!(
        Content::new(Bytes::from(vec![b'x'; MAX_CONTENT + 1])).unwrap_err(),
        ContentError::TooLong { length: MAX_CONTENT + 1 }
    );
    let kept = Content::new(Bytes::from_static(b"\xef\xbb\xbf a\0\r\n")).unwrap();
    assert_eq!(&kept.bytes()[..], b"\xef\xbb\xbf a\0\r\n");
}

#[test]
fn debug_shows_no_content() {
    assert!(!format!("{:?}", Content::new(Bytes::from_static(b"secret")).unwrap()).contains("secret"));
}

#[test]
fn no_digest_and_the_digest_of_nothing_say_that_nothing_is_held() {
    assert_eq!(Md5::OF_NOTHING, Md5::of(b""));
    assert_eq!(Content::new(Bytes::new()), Err(ContentError::Blank), "no content has it");
    for text in ["", " ", "d41d8cd98f00b204e9800998ecf8427e", " D41D8CD98F00B204E9800998ECF8427E "] {
        assert_eq!(Reported::read(text), Reported::Content(None), "{text:?}");
    }
    assert_eq!(Reported::read(&Md5::of(b"a").hex()), Reported::Content(Some(Md5::of(b"a"))));
    for text in ["00", "d41d8cd98f00b204e9800998ecf8427", "nothing"] {
        assert_eq!(Reported::read(text), Reported::Other, "{text:?}");
    }
}

proptest! {
    #[test]
    fn parse_undoes_hex(bytes: [u8; 16]) {
        prop_assert_eq!(Md5::parse(&Md5(bytes).hex()), Some(Md5(bytes)));
    }

    #[test]
    fn parse_takes_any_text_without_panic(text in ".*") {
        if let Some(digest) = Md5::parse(&text) {
            prop_assert_eq!(digest.hex(), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn any_bytes_are_taken_whole_or_refused(bytes: Vec<u8>) {
        if let Ok(content) = Content::new(Bytes::from(bytes.clone())) {
            prop_assert_eq!(&content.bytes()[..], &bytes[..]);
        }
    }
}
