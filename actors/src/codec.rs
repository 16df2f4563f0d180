//! The binary form of what only Callboard itself reads back: one byte that names the form, then bincode.
//!
//! Owns the form, its number and the limit of its size; nothing else in the project names bincode. Never used for
//! what a client sends or receives. A part of a frame whose form is named elsewhere goes without the byte
//! ([`encode_part`], [`decode_part`]).

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The form that is written, and the only one that is read.
const FORM: u8 = 1;
/// Longest value, in bytes, written or read.
pub const MAX_ENCODED: usize = 16 * 1024 * 1024;

/// Longest part, in bytes, written or read.
pub const MAX_PART: usize = 2 * 1024;

/// Why a value could not be written or bytes could not be read. Nothing else happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The value takes more than [`MAX_ENCODED`] bytes, or holds something that can't be written.
    #[error("the value can't be encoded")]
    Encode,
    /// No bytes at all.
    #[error("no bytes to decode")]
    Empty,
    /// Another form, of a newer program perhaps.
    #[error("encoded in form {0}; this program reads form {FORM}")]
    UnknownForm(u8),
    /// The bytes hold no value of the type that was asked for.
    #[error("the bytes hold no such value")]
    Decode,
}

fn form() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_ENCODED>()
}

/// The bytes of `value`.
///
/// # Errors
/// [`CodecError::Encode`] when it is too long or can't be written.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![FORM];
    bincode::serde::encode_into_std_write(value, &mut bytes, form()).map_err(|_inner| CodecError::Encode)?;
    if bytes.len() > MAX_ENCODED {
        return Err(CodecError::Encode);
    }
    Ok(bytes)
}

/// The value that `bytes` hold, all of them.
///
/// # Errors
/// [`CodecError`] when they hold another form, something else, or more than one value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (number, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *number != FORM {
        return Err(CodecError::UnknownForm(*number));
    }
    let (value, read) = bincode::serde::decode_from_slice(body, form()).map_err(|_inner| CodecError::Decode)?;
    if read == body.len() { Ok(value) } else { Err(CodecError::Decode) }
}

fn part() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_PART>()
}

/// The bytes of `value` as a part of a frame, without the byte that names the form.
///
/// # Errors
/// [`CodecError::Encode`] when it is longer than [`MAX_PART`] or can't be written.
pub fn encode_part<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, part()).map_err(|_inner| CodecError::Encode)?;
    if bytes.len() <= MAX_PART { Ok(bytes) } else { Err(CodecError::Encode) }
}

/// The value that `bytes` begin with, and how many of them it takes.
///
/// # Errors
/// [`CodecError::Decode`] when they begin with something else.
pub fn decode_part<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::decode_from_slice(bytes, part()).map_err(|_inner| CodecError::Decode)
}

#[cfg(test)]
mod tests;
