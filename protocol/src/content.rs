//! The bytes of a configuration and their digest. Owns the rule of what may be content; never changes a byte of it.

use std::fmt;

use bytes::Bytes;
use md5::{Digest as _, Md5 as Hasher};
use serde::{Deserialize, Serialize};

use crate::hex;

/// Longest content, in bytes.
pub const MAX_CONTENT: usize = 10 * 1024 * 1024;

/// The MD5 digest of a content, as Nacos clients compare it. It tells contents apart; it protects nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Md5(pub [u8; 16]);

impl Md5 {
    /// The digest of no bytes, which no content has.
    pub const OF_NOTHING: Self =
        Self([0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e]);

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Hasher::digest(bytes).into())
    }

    /// Reads 32 hexadecimal digits, of either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut digest = [0; 16];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = (hex::value(*high)? << 4) | hex::value(*low)?;
        }
        Some(Self(digest))
    }

    /// The 32 lowercase hexadecimal digits.
    #[must_use]
    pub fn hex(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        out.write_str(std::str::from_utf8(&text).map_err(|_not_ascii| fmt::Error)?)
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What a client says that it holds of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// A content of this digest, or none.
    Content(Option<Md5>),
    /// Something that is no digest.
    Other,
}

impl Reported {
    /// Reads the digest as clients write it: blank when they hold nothing. Some write the digest of the empty text then
    /// (Go's SDK before 2.3 does so once a configuration was removed); as no content is empty, it is taken for the
    /// same.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text.trim() {
            "" => Self::Content(None),
            text => Md5::parse(text)
                .map_or(Self::Other, |md5| Self::Content(Some(md5).filter(|md5| *md5 != Md5::OF_NOTHING))),
        }
    }
}

/// Why bytes were refused as content. Nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// No bytes, or white space alone.
    #[error("content is empty or blank")]
    Blank,
    /// Not UTF-8 from this byte on.
    #[error("content is not UTF-8: the first bad byte is at offset {offset}")]
    NotUtf8 {
        /// Where the first bad byte stands.
        offset: usize,
    },
    /// More bytes than [`MAX_CONTENT`].
    #[error("content is {length} bytes long; at most {MAX_CONTENT} are allowed")]
    TooLong {
        /// The length in bytes.
        length: usize,
    },
}

/// Content that keeps the rules: valid UTF-8, not blank, at most [`MAX_CONTENT`] bytes; with its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    bytes: Bytes,
    md5: Md5,
}

impl Content {
    /// Checks `bytes` and takes them as they are.
    ///
    /// # Errors
    /// [`ContentError`] names the rule that is broken.
    pub fn new(bytes: Bytes) -> Result<Self, ContentError> {
        if bytes.len() > MAX_CONTENT {
            return Err(ContentError::TooLong { length: bytes.len() });
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|error| ContentError::NotUtf8 { offset: error.valid_up_to() })?;
        if text.trim().is_empty() {
            return Err(ContentError::Blank);
        }
        let md5 = Md5::of(&bytes);
        Ok(Self { bytes, md5 })
    }

    /// Content read back from the database with the digest stored beside it; trusted, not checked again.
    #[must_use]
    pub fn stored(bytes: Bytes, md5: Md5) -> Self {
        Self { bytes, md5 }
    }

    /// The bytes, as they were published.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their digest.
    #[must_use]
    pub fn md5(&self) -> Md5 {
        self.md5
    }
}

/// Shows length and digest: content never reaches a log.
impl fmt::Debug for Content {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Content({} bytes, md5 {})", self.bytes.len(), self.md5)
    }
}

#[cfg(test)]
mod tests;
