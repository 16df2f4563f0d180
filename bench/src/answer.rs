//! Reads an HTTP/1.1 answer out of the bytes received so far, by `httparse`: finds where it ends, and its body. Total:
//! any bytes give an answer, "more needed" or a refusal. Owns no buffer and does no I/O.

use std::borrow::Cow;
use std::ops::Range;

use httparse::Status;
use thiserror::Error;

/// A head longer than this is refused.
const LONGEST_HEAD: usize = 64 * 1024;
/// More fields than these are refused.
const MOST_FIELDS: usize = 64;
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
    /// Its status line or its fields, or those after the last chunk.
    #[error("the answer is no HTTP: {0}")]
    Head(#[from] httparse::Error),
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
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let Status::Complete(head_length) = answer.parse(bytes)? else {
        return if bytes.len() > LONGEST_HEAD { Err(Malformed::LongHead) } else { Ok(None) };
    };
    let status = answer.code.filter(|code| *code >= 100).ok_or(Malformed::Head(httparse::Error::Status))?;
    // Those of HTTP/1.0 do unless they say otherwise.
    let mut closes = answer.version == Some(0);
    let (mut length, mut chunked) = (None, false);
    for httparse::Header { name, value } in answer.headers {
        if name.eq_ignore_ascii_case("content-length") {
            let stated = number(value).ok_or(Malformed::Length)?;
            if length.is_some_and(|length| length != stated) {
                return Err(Malformed::Length);
            }
            length = Some(stated);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked |= value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case("connection") {
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
    Ok(Some(Head { status, closes, framing, length: head_length }))
}

/// A number without sign or blanks; `None` also when it is too large to be held.
fn number(text: &[u8]) -> Option<usize> {
    let text = str::from_utf8(text).ok()?;
    text.parse().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()))
}

/// The chunks put together, and the bytes that they take up with all that is around them.
fn joined(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let (mut joined, mut read) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(read..).unwrap_or_default();
        // The parser takes a line without a size for the last chunk.
        if rest.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
            return Err(Malformed::Chunk);
        }
        let (begin, size) = match httparse::parse_chunk_size(rest) {
            Ok(Status::Complete((begin, size))) => (begin, usize::try_from(size).unwrap_or(usize::MAX)),
            Ok(Status::Partial) if rest.len() <= LONGEST_HEAD => return Ok(None),
            Ok(Status::Partial) | Err(_) => return Err(Malformed::Chunk),
        };
        if size == 0 {
            let trailer = trailer(rest.get(begin..).unwrap_or_default())?;
            return Ok(trailer.map(|length| (joined, read + begin + length)));
        }
        if joined.len().saturating_add(size) > LONGEST_BODY {
            return Err(Malformed::LongBody);
        }
        let end = begin + size;
        let (Some(chunk), Some(after)) = (rest.get(begin..end), rest.get(end..end + 2)) else { return Ok(None) };
        if after != b"\r\n" {
            return Err(Malformed::Chunk);
        }
        joined.extend_from_slice(chunk);
        read += end + 2;
    }
}

/// How long the fields after the last chunk are, with the line that ends them.
fn trailer(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(bytes, &mut fields)? {
        Status::Complete((length, _)) => Ok(Some(length)),
        Status::Partial => Ok(None),
    }
}

#[cfg(test)]
mod tests;
