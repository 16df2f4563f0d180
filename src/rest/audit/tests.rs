//! Cursors are read as they were given out, and nothing else is.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

#[test]
fn a_cursor_is_read_as_it_was_given_out() {
    let place = AuditPlace { at: WallMillis(12), node: "a.node".to_owned(), seq: 7 };
    let read = Cursor::read(&Cursor { place: place.clone(), taken: 3 }.text()).unwrap();
    assert_eq!((read.place, read.taken), (place, 3));
    for text in ["", "1.2.3", "x.2.3.n", "1.-2.3.n", "1.2.-3.n"] {
        assert_eq!(Cursor::read(text).unwrap_err().code(), ErrorCode::InvalidCursor, "{text}");
    }
}
