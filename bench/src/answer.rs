//! Reads an HTTP/1.1 answer out of the bytes received so far. Total: any bytes give an answer, "more needed" or a
//! refusal. Owns no buffer and does no I/O.

use std::borrow::Cow;
use std::ops::Range;

use thiserror::Error;

/// A head longer than this is refused.
const LONGEST_HEAD: usize = 64 * 1024;
/// A body longer than this is refused.
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// A complete answer within the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// Whether the server closes the connection after it.
    pub(super) closes: bool,
    /// Bytes that it takes up, head and body.
    pub(super) length: usize,
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Whole(Range<usize>),
    Joined(Vec<u8>),
}

impl Answer {
    /// It, with its body out of the bytes that it was read from.
    pub(super) fn within(self, bytes: &[u8]) -> Reply<'_> {
        let body = match self.body {
            Body::Whole(range) => Cow::Borrowed(bytes.get(range).unwrap_or_default()),
            Body::Joined(joined) => Cow::Owned(joined),
        };
        Reply { status: self.status, body }
    }
}

/// An answer with the body it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    /// Its status.
    pub(super) status: u16,
    /// Its body, chunks joined.
    pub(super) body: Cow<'a, [u8]>,
}

impl Reply<'_> {
    /// Whether it acknowledges a publish.
    pub(super) fn is_true(&self) -> bool {
        self.status == 200 && self.body.trim_ascii() == b"true"
    }

    /// Says what it is, for people: the status and the beginning of the body.
    pub(super) fn describe(&self) -> String {
        let beginning = String::from_utf8_lossy(self.body.get(..self.body.len().min(120)).unwrap_or_default());
        let beginning = beginning.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("status {}, {} bytes: {beginning}", self.status, self.body.len())
    }
}

/// The bytes are no HTTP answer. The connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    /// The first line.
    #[error("the answer has no HTTP status line")]
    StatusLine,
    /// No end of the head in sight.
    #[error("the head of the answer is too long")]
    LongHead,
    /// `Content-Length` is no number, or is given twice with different values.
    #[error("the answer has a wrong Content-Length")]
    Length,
    /// The body is longer than anything that was asked for.
    #[error("the body of the answer is too long")]
    LongBody,
    /// A chunk does not begin or end as it should.
    #[error("the chunks of the answer are malformed")]
    Chunk,
    /// The connection ended before the answer did.
    #[error("the connection ended within an answer")]
    Truncated,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilEnd,
}

struct Head {
    status: u16,
    closes: bool,
    framing: Framing,
    length: usize,
}

/// The first answer in `bytes`; `None` while more bytes are needed. `ended` says that no more will come. Interim
/// answers (1xx) are skipped.
pub(super) fn parse(bytes: &[u8], ended: bool) -> Result<Option<Answer>, Malformed> {
    let more = |ended: bool| if ended { Err(Malformed::Truncated) } else { Ok(None) };
    let mut skipped = 0;
    let (head, rest) = loop {
        let rest = bytes.get(skipped..).unwrap_or_default();
        match head(rest)? {
            None => return more(ended),
            Some(head) if (100..200).contains(&head.status) => skipped += head.length,
            Some(head) => break (head, rest),
        }
    };
    let begin = skipped + head.length;
    let after = rest.get(head.length..).unwrap_or_default();
    let (body, length) = match head.framing {
        Framing::Length(length) if length > LONGEST_BODY => return Err(Malformed::LongBody),
        Framing::Length(length) if after.len() < length => return more(ended),
        Framing::Length(length) => (Body::Whole(begin..begin + length), length),
        Framing::UntilEnd if after.len() > LONGEST_BODY => return Err(Malformed::LongBody),
        Framing::UntilEnd if !ended => return Ok(None),
        Framing::UntilEnd => (Body::Whole(begin..bytes.len()), after.len()),
        Framing::Chunked => match joined(after)? {
            None => return more(ended),
            Some((joined, length)) => (Body::Joined(joined), length),
        },
    };
    Ok(Some(Answer { status: head.status, closes: head.closes, length: begin + length, body }))
}

fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some((first, mut rest)) = line(bytes) else {
        return if bytes.len() > LONGEST_HEAD { Err(Malformed::LongHead) } else { Ok(None) };
    };
    let (status, mut closes) = status(first)?;
    let (mut length, mut chunked) = (None, false);
    loop {
        let consumed = bytes.len() - rest.len();
        if consumed > LONGEST_HEAD {
            return Err(Malformed::LongHead);
        }
        let Some((header, after)) = line(rest) else {
            return if bytes.len() > LONGEST_HEAD { Err(Malformed::LongHead) } else { Ok(None) };
        };
        rest = after;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = field(header) else { continue };
        if name.eq_ignore_ascii_case(b"content-length") {
            let stated = number(value, 10).ok_or(Malformed::Length)?;
            if length.is_some_and(|length| length != stated) {
                return Err(Malformed::Length);
            }
            length = Some(stated);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked |= value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") {
            closes = value.eq_ignore_ascii_case(b"close") || (closes && !value.eq_ignore_ascii_case(b"keep-alive"));
        }
    }
    let framing = match (status, chunked, length) {
        (100..200 | 204 | 304, _, _) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::UntilEnd,
    };
    let closes = closes || matches!(framing, Framing::UntilEnd);
    Ok(Some(Head { status, closes, framing, length: bytes.len() - rest.len() }))
}

/// The first line without its end, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
}

/// Status, and whether the connection closes unless a header says otherwise.
fn status(line: &[u8]) -> Result<(u16, bool), Malformed> {
    let (old, rest) = match (line.strip_prefix(b"HTTP/1.1 "), line.strip_prefix(b"HTTP/1.0 ")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(Malformed::StatusLine),
    };
    let digits = rest.get(..3).ok_or(Malformed::StatusLine)?;
    let ends = rest.get(3).is_none_or(|byte| *byte == b' ');
    match number(digits, 10).and_then(|status| u16::try_from(status).ok()) {
        Some(status @ 100..) if ends => Ok((status, old)),
        Some(_) | None => Err(Malformed::StatusLine),
    }
}

/// A number without sign or blanks; `None` also when it is too large to be held.
fn number(text: &[u8], radix: u32) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_usize, |number, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        number.checked_mul(radix as usize)?.checked_add(digit as usize)
    })
}

/// The chunks put together, and the bytes that they take up with all that is around them.
fn joined(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let mut joined = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((size, after)) = line(rest) else {
            return if rest.len() > LONGEST_HEAD { Err(Malformed::Chunk) } else { Ok(None) };
        };
        let size = size.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = number(size, 16).ok_or(Malformed::Chunk)?;
        if size == 0 {
            return Ok(trailer(after).map(|rest| (joined, bytes.len() - rest.len())));
        }
        if joined.len().saturating_add(size) > LONGEST_BODY {
            return Err(Malformed::LongBody);
        }
        let Some(chunk) = after.get(..size) else { return Ok(None) };
        joined.extend_from_slice(chunk);
        let after = after.get(size..).unwrap_or_default();
        let Some(end) = after.get(..2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(Malformed::Chunk);
        }
        rest = after.get(2..).unwrap_or_default();
    }
}

/// What follows the fields after the last chunk.
fn trailer(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (field, rest) = line(bytes)?;
        bytes = rest;
        if field.is_empty() {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests;
