//! What a fuzz target reaches of the messages between nodes. Present only with the feature `fuzzing`.

use super::Hello;
use super::wire::Frame;

/// Arbitrary bytes as a hello and as a frame of a version: what is taken is written so that it is read back the same.
///
/// # Panics
/// It is not.
pub fn message(bytes: &[u8], version: u16) {
    if let Ok(hello) = Hello::decode(bytes) {
        let written = hello.encode().expect("it was read");
        assert_eq!(Hello::decode(&written).expect("it was written"), hello);
    }
    if let Ok(frame) = Frame::decode(bytes, version) {
        let written = frame.encode(version).expect("it was read");
        let again = Frame::decode(&written, version).expect("it was written").encode(version);
        assert_eq!(again.as_ref(), Ok(&written));
    }
}
