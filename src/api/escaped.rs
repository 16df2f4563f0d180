//! A long text inside a JSON text, written piece by piece: the texts before and after it are there as a whole, it is
//! escaped as it goes out, so that an answer with a long content takes up no more than a piece. Owns the form of JSON
//! texts (RFC 8259, section 7) as `serde_json` writes them; sends nothing.

use bytes::Bytes;

/// Bytes of text that are escaped at a time.
const PIECE: usize = 32 * 1024;
/// From this length on a text is worth it, in bytes.
pub(crate) const LONG: usize = 64 * 1024;

/// What stands for the text in what is around it. No name or type can hold it.
const PLACE: &str = "\u{1}text\u{1}";
/// As it is written.
const WRITTEN: &str = "\\u0001text\\u0001";

/// A JSON text with a long text in it.
#[derive(Debug)]
pub(crate) struct Escaped {
    before: Bytes,
    text: Bytes,
    /// From where on it is not written yet.
    at: usize,
    after: Bytes,
}

/// A JSON text that `write` makes, which gets what is to stand in place of `text`. `None` when that can't be found, or
/// is not once in it; then it has to be written as a whole.
pub(crate) fn around<E>(text: &Bytes, write: impl FnOnce(&str) -> Result<Vec<u8>, E>) -> Result<Option<Escaped>, E> {
    let whole = Bytes::from(write(PLACE)?);
    let mut found = (0..whole.len().saturating_sub(WRITTEN.len() - 1)).filter(|at| is_place(&whole, *at));
    let (Some(at), None) = (found.next(), found.next()) else { return Ok(None) };
    let after = whole.slice(at + WRITTEN.len()..);
    Ok(Some(Escaped { before: whole.slice(..at), text: text.clone(), at: 0, after }))
}

fn is_place(whole: &[u8], at: usize) -> bool {
    whole.get(at..).is_some_and(|rest| rest.starts_with(WRITTEN.as_bytes()))
}

/// How many bytes a byte of a text becomes.
const fn width(byte: u8) -> u8 {
    match byte {
        b'"' | b'\\' | 8 | 9 | 10 | 12 | 13 => 2,
        0..=31 => 6,
        _ => 1,
    }
}

/// For every byte.
const WIDTHS: [u8; 256] = {
    let (mut widths, mut byte) = ([0; 256], 0);
    while byte < 256 {
        widths[byte] = width(byte as u8);
        byte += 1;
    }
    widths
};

impl Escaped {
    /// How long the text is, in bytes.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }

    /// How many bytes are still to be written. Looks at all of the text.
    pub(crate) fn len(&self) -> usize {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let escaped: usize = rest.iter().map(|byte| usize::from(WIDTHS[usize::from(*byte)])).sum();
        self.before.len() + escaped + self.after.len()
    }

    /// The next bytes of it; `None` after the last.
    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        if !self.before.is_empty() {
            return Some(std::mem::take(&mut self.before));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            let after = std::mem::take(&mut self.after);
            return Some(after).filter(|after| !after.is_empty());
        }
        let now = rest.get(..PIECE).unwrap_or(rest);
        self.at += now.len();
        Some(escape(now))
    }
}

/// Escapes bytes of a text, wherever they were cut: a character of several bytes is written as it is.
fn escape(bytes: &[u8]) -> Bytes {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if WIDTHS[usize::from(*byte)] == 1 {
            continue;
        }
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            8 => out.extend(b"\\b"),
            9 => out.extend(b"\\t"),
            10 => out.extend(b"\\n"),
            12 => out.extend(b"\\f"),
            13 => out.extend(b"\\r"),
            _ => {
                out.extend(b"\\u00");
                out.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
            }
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
    out.into()
}

#[cfg(test)]
mod tests {
    //! Byte for byte what the library writes.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::{PIECE, around};

    fn pieces(text: &str) -> (usize, Vec<u8>) {
        let text = Bytes::copy_from_slice(text.as_bytes());
        let write = |place: &str| serde_json::to_vec(&json!({ "a": 1, "content": place, "z": "end" }));
        let mut escaped = around(&text, write).unwrap().unwrap();
        let (length, mut out) = (escaped.len(), Vec::new());
        while let Some(piece) = escaped.next_piece() {
            out.extend_from_slice(&piece);
        }
        (length, out)
    }

    proptest! {
        #[test]
        fn it_is_what_the_library_writes(text in "(?s).{0,200}", times in 1_usize..2000) {
            let text = text.repeat(times.min(3 * PIECE / (text.len() + 1) + 1));
            let whole = serde_json::to_vec(&json!({ "a": 1, "content": text, "z": "end" })).unwrap();
            let (length, out) = pieces(&text);
            prop_assert_eq!(length, whole.len());
            prop_assert!(out == whole);
        }
    }

    #[test]
    fn every_sign_below_a_space_is_escaped() {
        let text: String = (0..=255_u8).map(char::from).collect();
        assert_eq!(pieces(&text).1, serde_json::to_vec(&json!({ "a": 1, "content": text, "z": "end" })).unwrap());
    }

    #[test]
    fn a_text_around_that_holds_the_place_twice_is_left_to_others() {
        let write = |place: &str| serde_json::to_vec(&json!([place, place]));
        assert!(around(&Bytes::new(), write).unwrap().is_none());
    }
}
